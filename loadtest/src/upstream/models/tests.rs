use super::*;
use crate::upstream::models::completions::Completions;
use crate::upstream::models::messages::Messages;
use crate::upstream::models::responses::Responses;

const SAID: &str = "Please run `echo hi` for me.";

fn bash() -> Value {
    json!({"type": "object", "properties": {"command": {"type": "string"}, "description": {"type": "string"}}})
}

/// The texts or arguments that a stream's events hold, put together.
fn joined<D: Dialect>(body: &Value, pointers: &[&str]) -> String {
    let asked = D::read(body);
    let events = D::events(&asked, &asked.reply());
    let values = events
        .iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
    let mut out = String::new();
    for value in values {
        let kind = value["type"].as_str().unwrap_or("delta").to_owned();
        let found = pointers
            .iter()
            .find_map(|pointer| value.pointer(pointer).and_then(Value::as_str));
        if let Some(found) = found.filter(|_| kind.ends_with("delta")) {
            out.push_str(found);
        }
    }
    out
}

#[test]
fn every_api_is_asked_for_a_call_and_then_for_words() {
    let call = json!({"command": "echo hi", "description": "What was asked for"});
    let words = "The command printed: hi";

    let tools = json!([{"name": "Bash", "input_schema": bash()}]);
    let first = json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": [{"type": "text", "text": SAID}]}]});
    let asked = Messages::read(&first);
    assert_eq!(
        asked.reply(),
        Reply::Call(Call {
            tool: "Bash".to_owned(),
            arguments: call.clone()
        })
    );
    assert_eq!(
        joined::<Messages>(&first, &["/delta/partial_json"]),
        call.to_string()
    );
    let mut second = first;
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "hi\n"}]});
    second["messages"].as_array_mut().unwrap().push(result);
    assert_eq!(joined::<Messages>(&second, &["/delta/text"]), words);

    let tools = json!([{"type": "function", "name": "shell", "parameters": {"properties": {"command": {"type": "array"}}}}]);
    let first = json!({"model": "m", "tools": tools, "input": [{"role": "user", "content": [{"type": "input_text", "text": SAID}]}]});
    let expect = json!({"command": ["bash", "-c", "echo hi"]});
    assert_eq!(joined::<Responses>(&first, &["/delta"]), expect.to_string());
    let mut second = first;
    second["input"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "function_call_output", "output": "hi"}));
    assert_eq!(joined::<Responses>(&second, &["/delta"]), words);

    let tools = json!([{"type": "function", "function": {"name": "bash", "parameters": bash()}}]);
    let first =
        json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": SAID}]});
    let arguments = "/choices/0/delta/tool_calls/0/function/arguments";
    assert_eq!(
        joined::<Completions>(&first, &[arguments]),
        call.to_string()
    );
    let mut second = first;
    second["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "tool", "content": "hi"}));
    assert_eq!(
        joined::<Completions>(&second, &["/choices/0/delta/content"]),
        words
    );
}

#[test]
fn a_tool_that_takes_code_gets_code() {
    let tool = json!({"type": "custom", "name": "exec", "description": "Runs JavaScript"});
    let group = json!({"type": "namespace", "name": "functions", "tools": [tool]});
    let listed = json!({"type": "additional_tools", "role": "developer", "tools": [group]});
    let body = json!({"model": "m", "input": [listed, {"role": "user", "content": SAID}]});
    let code =
        "const done = await tools.exec_command({\"cmd\":\"echo hi\"});\ntext(done.output);\n";
    assert_eq!(joined::<Responses>(&body, &["/delta"]), code);
    let asked = Responses::read(&body);
    let whole = Responses::whole(&asked, &asked.reply());
    assert_eq!(whole["output"][0]["type"], "custom_tool_call");
    assert_eq!(whole["output"][0]["input"], code);
}

#[test]
fn a_model_without_tools_or_orders_only_talks() {
    let said = json!({"model": "m", "messages": [{"role": "user", "content": SAID}]});
    assert_eq!(
        joined::<Completions>(&said, &["/choices/0/delta/content"]),
        GREETING
    );
    let asked = Messages::read(&said);
    assert_eq!(
        Messages::whole(&asked, &asked.reply())["content"][0]["text"],
        GREETING
    );
}

#[test]
fn nobody_is_answered_without_the_key() {
    let models = Models::new("the-key".to_owned());
    let status = |path: &str, header: (&str, &str)| {
        let request = hyper::Request::post(path)
            .header(header.0, header.1)
            .body(())
            .unwrap();
        let received = Received {
            kept: Bytes::from_static(b"{}"),
            ..Received::default()
        };
        let answer = models.answer(&request.into_parts().0, &received).unwrap();
        answer.map(|answer| answer.status().as_u16())
    };
    let bearer = ("authorization", "Bearer the-key");
    for (path, header, expect) in [
        (
            "/v1/messages?beta=true",
            ("x-api-key", "the-key"),
            Some(200),
        ),
        ("/v1/messages", bearer, Some(200)),
        ("/v1/messages", ("x-api-key", "__KEY__"), Some(401)),
        ("/v1/responses", bearer, Some(200)),
        ("/v1/responses", ("x-api-key", "the-key"), Some(401)),
        ("/v1/chat/completions", bearer, Some(200)),
        (
            "/v1/chat/completions",
            ("authorization", "Bearer __KEY__"),
            Some(401),
        ),
        ("/v1/models", ("authorization", "the-key"), Some(401)),
        ("/v1/other", bearer, None),
    ] {
        assert_eq!(status(path, header), expect, "{path} {header:?}");
    }
}
