//! What a conversation asks of the model, whichever API it came through, and what the model says to it. Pure.

use serde_json::{Map, Value, json};

use super::GREETING;

/// A conversation, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model that was asked for.
    pub model: String,
    /// All that the person, and the agent on their behalf, said.
    pub said: String,
    /// What the tools printed, in order.
    pub results: Vec<String>,
    /// The tools: a name, and what it takes.
    pub tools: Vec<(String, Takes)>,
}

/// What a tool takes.
#[derive(Debug, PartialEq, Eq)]
pub enum Takes {
    /// An object, by this JSON Schema.
    Arguments(Value),
    /// JavaScript, in which the agent's other tools are functions: Codex has it for the models that can.
    Code,
}

/// What the model does.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// It calls a tool.
    Call(Call),
    /// It says something.
    Text(String),
}

/// A call of one of the agent's tools.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// One of the agent's.
    pub tool: String,
    /// An object, as the tool's schema wants it; a text for a tool that takes code.
    pub arguments: Value,
}

/// The names that agents give to the tool that runs a command, in lower case.
const SHELLS: [&str; 6] = [
    "bash",
    "exec_command",
    "shell",
    "shell_command",
    "run_shell_command",
    "execute_command",
];

impl Asked {
    /// What the model does about it.
    #[must_use]
    pub fn reply(&self) -> Reply {
        if let Some(printed) = self.results.last() {
            // Some agents say more than the command did, and then this.
            let printed = printed.rsplit("Output:\n").next().unwrap_or_default();
            return Reply::Text(format!("The command printed: {}", printed.trim()));
        }
        let command = between(&self.said, "Please run `", "`");
        let call = command.and_then(|command| self.call(command));
        call.map_or_else(|| Reply::Text(GREETING.to_owned()), Reply::Call)
    }

    fn call(&self, command: &str) -> Option<Call> {
        let call = |(tool, takes): &(String, Takes)| {
            let arguments = match takes {
                Takes::Arguments(schema) => arguments(schema, command),
                Takes::Code => code(command).into(),
            };
            let tool = tool.clone();
            Call { tool, arguments }
        };
        let runs = |(name, takes): &&(String, Takes)| match takes {
            Takes::Arguments(_) => SHELLS.contains(&name.to_lowercase().as_str()),
            Takes::Code => name == "exec",
        };
        self.tools.iter().find(runs).map(call)
    }
}

/// Runs a command with the tool that Codex has for it.
fn code(command: &str) -> String {
    let arguments = json!({"cmd": command});
    format!("const done = await tools.exec_command({arguments});\ntext(done.output);\n")
}

/// The arguments under the names that the schema has for them.
fn arguments(schema: &Value, command: &str) -> Value {
    let property = |name: &str| schema.pointer(&format!("/properties/{name}"));
    let is_list = |property: &Value| property.get("type").and_then(Value::as_str) == Some("array");
    let mut made = Map::new();
    for name in ["command", "cmd"] {
        match property(name) {
            Some(found) if is_list(found) => {
                made.insert(name.to_owned(), json!(["bash", "-c", command]))
            }
            Some(_) => made.insert(name.to_owned(), command.into()),
            None => None,
        };
    }
    if property("description").is_some() {
        made.insert("description".to_owned(), "What was asked for".into());
    }
    Value::Object(made)
}

/// The last text between two marks: what was asked last counts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, behind) = text.rsplit_once(from)?;
    behind.split_once(to).map(|(inside, _)| inside)
}

/// The text of a content that is one, or is made of parts that have one.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// A field as text; empty if it is none.
pub(super) fn field(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A field as a list; empty if it is none.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
