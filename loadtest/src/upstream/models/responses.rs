//! OpenAI's Responses: <https://platform.openai.com/docs/api-reference/responses>, and its events,
//! <https://platform.openai.com/docs/api-reference/responses-streaming>.

use serde_json::{Value, json};

use super::asked::{Asked, Reply, Takes, field, list, text};
use super::{Dialect, Event, named, pieces};

/// The dialect.
pub(super) struct Responses;

impl Dialect for Responses {
    fn read(body: &Value) -> Asked {
        let mut asked = Asked {
            model: field(body, "model"),
            ..Asked::default()
        };
        add_tools(&mut asked, body);
        if let Some(said) = body.get("input").and_then(Value::as_str) {
            asked.said = said.to_owned();
        }
        for item in list(body, "input") {
            let kind = field(item, "type");
            add_tools(&mut asked, item);
            if kind == "function_call_output" || kind == "custom_tool_call_output" {
                asked
                    .results
                    .push(text(item.get("output").unwrap_or(&Value::Null)));
            } else if field(item, "role") == "user" {
                asked
                    .said
                    .push_str(&text(item.get("content").unwrap_or(&Value::Null)));
                asked.said.push('\n');
            }
        }
        asked
    }

    fn whole(asked: &Asked, reply: &Reply) -> Value {
        response(asked, "completed", &json!([item(reply, true)]))
    }

    fn events(asked: &Asked, reply: &Reply) -> Vec<Event> {
        let created = response(asked, "in_progress", &json!([]));
        let done = item(reply, true);
        let id = field(&done, "id");
        let mut events = vec![
            named("response.created", json!({"response": created})),
            named("response.in_progress", json!({"response": created})),
            named(
                "response.output_item.added",
                json!({"output_index": 0, "item": item(reply, false)}),
            ),
        ];
        events.extend(deltas(reply, &id));
        events.push(named(
            "response.output_item.done",
            json!({"output_index": 0, "item": done}),
        ));
        events.push(named(
            "response.completed",
            json!({"response": Self::whole(asked, reply)}),
        ));
        numbered(events)
    }
}

/// The tools that something lists: the request, or an item of its input; in groups, too.
fn add_tools(asked: &mut Asked, of: &Value) {
    for tool in list(of, "tools") {
        let name = field(tool, "name");
        match field(tool, "type").as_str() {
            "function" => {
                let schema = tool.get("parameters").cloned().unwrap_or_default();
                asked.tools.push((name, Takes::Arguments(schema)));
            }
            "custom" => asked.tools.push((name, Takes::Code)),
            _ => add_tools(asked, tool),
        }
    }
}

/// What the model says, in pieces.
fn deltas(reply: &Reply, id: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let place = |more: Value| {
        let mut data = json!({"item_id": id, "output_index": 0});
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        data
    };
    match reply {
        Reply::Text(text) => {
            let part = |text: &str| {
                place(
                    json!({"content_index": 0, "part": {"type": "output_text", "text": text, "annotations": []}}),
                )
            };
            events.push(named("response.content_part.added", part("")));
            let delta = |piece| {
                named(
                    "response.output_text.delta",
                    place(json!({"content_index": 0, "delta": piece})),
                )
            };
            events.extend(pieces(text).into_iter().map(delta));
            events.push(named(
                "response.output_text.done",
                place(json!({"content_index": 0, "text": text})),
            ));
            events.push(named("response.content_part.done", part(text)));
        }
        Reply::Call(call) => match call.arguments.as_str() {
            Some(code) => {
                let name = "response.custom_tool_call_input.delta";
                let delta = |piece| named(name, place(json!({"delta": piece})));
                events.extend(pieces(code).into_iter().map(delta));
                let done = place(json!({"input": code}));
                events.push(named("response.custom_tool_call_input.done", done));
            }
            None => {
                let name = "response.function_call_arguments.delta";
                let text = call.arguments.to_string();
                let delta = |piece| named(name, place(json!({"delta": piece})));
                events.extend(pieces(&text).into_iter().map(delta));
                let done = place(json!({"arguments": text}));
                events.push(named("response.function_call_arguments.done", done));
            }
        },
    }
    events
}

/// Each event says which it is.
fn numbered(events: Vec<Event>) -> Vec<Event> {
    let number = |(at, (name, data)): (usize, Event)| {
        let numbered = data
            .strip_suffix('}')
            .map(|data| format!("{data},\"sequence_number\":{at}}}"));
        (name, numbered.unwrap_or(data))
    };
    events.into_iter().enumerate().map(number).collect()
}

fn response(asked: &Asked, status: &str, output: &Value) -> Value {
    json!({
        "id": "resp_sortie", "object": "response", "created_at": 0, "status": status, "error": null,
        "incomplete_details": null, "instructions": null, "metadata": {}, "model": asked.model, "output": output,
        "parallel_tool_calls": false, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": 16, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 24,
        },
    })
}

/// What the model says, before its first delta or whole.
fn item(reply: &Reply, is_done: bool) -> Value {
    let status = if is_done { "completed" } else { "in_progress" };
    match reply {
        Reply::Text(text) => {
            let whole = json!([{"type": "output_text", "text": text, "annotations": []}]);
            let content = if is_done { whole } else { json!([]) };
            json!({"id": "msg_sortie", "type": "message", "status": status, "role": "assistant", "content": content})
        }
        Reply::Call(call) => {
            let (kind, name, text) = match call.arguments.as_str() {
                Some(code) => ("custom_tool_call", "input", code.to_owned()),
                None => ("function_call", "arguments", call.arguments.to_string()),
            };
            let text = if is_done { text } else { String::new() };
            json!({
                "id": "fc_sortie", "type": kind, "status": status, "call_id": "call_sortie", "name": call.tool,
                name: text,
            })
        }
    }
}
