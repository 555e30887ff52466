//! Anthropic's Messages: <https://docs.anthropic.com/en/api/messages>, and its events,
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use serde_json::{Value, json};

use super::asked::{Asked, Reply, Takes, field, list, text};
use super::{Dialect, Event, named, pieces};

/// The dialect.
pub(super) struct Messages;

impl Dialect for Messages {
    fn read(body: &Value) -> Asked {
        let mut asked = Asked {
            model: field(body, "model"),
            ..Asked::default()
        };
        for tool in list(body, "tools") {
            let schema = tool.get("input_schema").cloned().unwrap_or_default();
            asked
                .tools
                .push((field(tool, "name"), Takes::Arguments(schema)));
        }
        for message in list(body, "messages")
            .iter()
            .filter(|message| field(message, "role") == "user")
        {
            let content = message.get("content").cloned().unwrap_or_default();
            asked.said.push_str(&text(&content));
            asked.said.push('\n');
            let results = list(message, "content")
                .iter()
                .filter(|part| field(part, "type") == "tool_result");
            asked
                .results
                .extend(results.map(|part| text(part.get("content").unwrap_or(&Value::Null))));
        }
        asked
    }

    fn whole(asked: &Asked, reply: &Reply) -> Value {
        let (block, reason) = match reply {
            Reply::Text(text) => (json!({"type": "text", "text": text}), "end_turn"),
            Reply::Call(call) => {
                let mut block = empty(reply);
                if let Some(input) = block.get_mut("input") {
                    *input = call.arguments.clone();
                }
                (block, "tool_use")
            }
        };
        json!({
            "id": "msg_sortie", "type": "message", "role": "assistant", "model": asked.model, "content": [block],
            "stop_reason": reason, "stop_sequence": null, "usage": {"input_tokens": 16, "output_tokens": 8},
        })
    }

    fn events(asked: &Asked, reply: &Reply) -> Vec<Event> {
        let whole = Self::whole(asked, reply);
        let reason = field(&whole, "stop_reason");
        let mut begun = whole;
        if let Some(fields) = begun.as_object_mut() {
            fields.insert("content".to_owned(), json!([]));
            fields.insert("stop_reason".to_owned(), Value::Null);
        }
        let mut events = vec![
            named("message_start", json!({"message": begun})),
            named(
                "content_block_start",
                json!({"index": 0, "content_block": empty(reply)}),
            ),
            named("ping", json!({})),
        ];
        let delta = |piece: String| match reply {
            Reply::Text(_) => json!({"type": "text_delta", "text": piece}),
            Reply::Call(_) => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        let text = match reply {
            Reply::Text(text) => text.clone(),
            Reply::Call(call) => call.arguments.to_string(),
        };
        events.extend(pieces(&text).into_iter().map(|piece| {
            named(
                "content_block_delta",
                json!({"index": 0, "delta": delta(piece)}),
            )
        }));
        events.push(named("content_block_stop", json!({"index": 0})));
        let end = json!({"delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 8}});
        events.push(named("message_delta", end));
        events.push(named("message_stop", json!({})));
        events
    }
}

/// A block before its first delta.
fn empty(reply: &Reply) -> Value {
    match reply {
        Reply::Text(_) => json!({"type": "text", "text": ""}),
        Reply::Call(call) => {
            json!({"type": "tool_use", "id": "toolu_sortie", "name": call.tool, "input": {}})
        }
    }
}
