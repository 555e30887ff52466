//! OpenAI's Chat Completions, which many others speak: <https://platform.openai.com/docs/api-reference/chat>.

use serde_json::{Value, json};

use super::asked::{Asked, Reply, Takes, field, list, text};
use super::{Dialect, Event, pieces};

/// The dialect.
pub(super) struct Completions;

impl Dialect for Completions {
    fn read(body: &Value) -> Asked {
        let mut asked = Asked {
            model: field(body, "model"),
            ..Asked::default()
        };
        for tool in list(body, "tools")
            .iter()
            .filter_map(|tool| tool.get("function"))
        {
            let schema = tool.get("parameters").cloned().unwrap_or_default();
            asked
                .tools
                .push((field(tool, "name"), Takes::Arguments(schema)));
        }
        for message in list(body, "messages") {
            let content = text(message.get("content").unwrap_or(&Value::Null));
            match field(message, "role").as_str() {
                "user" => asked.said.push_str(&(content + "\n")),
                "tool" => asked.results.push(content),
                _ => {}
            }
        }
        asked
    }

    fn whole(asked: &Asked, reply: &Reply) -> Value {
        let (message, reason) = match reply {
            Reply::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
            Reply::Call(call) => {
                let arguments = call.arguments.to_string();
                let call = json!({
                    "id": "call_sortie", "type": "function",
                    "function": {"name": call.tool, "arguments": arguments},
                });
                (
                    json!({"role": "assistant", "content": null, "tool_calls": [call]}),
                    "tool_calls",
                )
            }
        };
        json!({
            "id": "chatcmpl-sortie", "object": "chat.completion", "created": 0, "model": asked.model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 16, "completion_tokens": 8, "total_tokens": 24},
        })
    }

    fn events(asked: &Asked, reply: &Reply) -> Vec<Event> {
        let chunk = |delta: Value, reason: Option<&str>| {
            let chunk = json!({
                "id": "chatcmpl-sortie", "object": "chat.completion.chunk", "created": 0, "model": asked.model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            });
            (None, chunk.to_string())
        };
        let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        let reason = match reply {
            Reply::Text(text) => {
                let said = pieces(text).into_iter();
                events.extend(said.map(|piece| chunk(json!({"content": piece}), None)));
                "stop"
            }
            Reply::Call(call) => {
                let begun = json!({"index": 0, "id": "call_sortie", "type": "function",
                    "function": {"name": call.tool, "arguments": ""}});
                events.push(chunk(json!({"tool_calls": [begun]}), None));
                let more = |piece: String| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
                let said = pieces(&call.arguments.to_string()).into_iter();
                events.extend(said.map(|piece| chunk(more(piece), None)));
                "tool_calls"
            }
        };
        events.push(chunk(json!({}), Some(reason)));
        let mut usage = Self::whole(asked, reply);
        if let Some(fields) = usage.as_object_mut() {
            fields.insert("object".to_owned(), "chat.completion.chunk".into());
            fields.insert("choices".to_owned(), json!([]));
        }
        events.push((None, usage.to_string()));
        events.push((None, "[DONE]".to_owned()));
        events
    }
}
