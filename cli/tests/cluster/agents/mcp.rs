//! A real MCP server as an agent starts it, with the command of the documentation's `mcp.json`, and an agent's side of
//! the conversation: JSON-RPC, a line a message.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::desk::{DEADLINE, Desk, fenced, headers};

/// A server that was started.
struct Server {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts what an `mcp.json` names.
    fn start(desk: &Desk, entry: &Value) -> Self {
        let arguments = entry["args"].as_array().unwrap();
        let arguments = arguments.iter().map(|argument| argument.as_str().unwrap());
        let mut child = Command::new("env")
            .env_clear()
            .envs(desk.environment())
            .arg(entry["command"].as_str().unwrap())
            .args(arguments)
            .current_dir(desk.path("work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            stdin,
            lines,
        }
    }

    async fn send(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// Asks, and waits for the answer; what the server says meanwhile is none.
    async fn ask(&mut self, id: u32, method: &str, parameters: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters});
        self.send(message).await;
        loop {
            let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
            let line = line.expect("an answer in time").unwrap();
            let line = line.expect("the server goes on");
            // Every line is a message: nothing of ours is among them.
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["id"] == id {
                assert!(said["error"].is_null(), "{said}");
                return said["result"].clone();
            }
        }
    }

    /// Closes its input; answers with what it said beside the conversation.
    async fn end(mut self) -> String {
        drop(self.stdin);
        let rest = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
        assert_eq!(rest.unwrap().unwrap(), None);
        let done = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await;
        let done = done.expect("it ends with its input").unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{said}");
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mcp_server_calls_an_api_that_it_has_no_key_for() {
    let desk = Desk::with_model(&["api.github.com"]).await;
    desk.follows("quickstarts/mcp.md").await;
    let page: Value = serde_json::from_str(&fenced("quickstarts/mcp.md", "json")[0]).unwrap();
    let mut server = Server::start(&desk, &page["mcpServers"]["fetch"]);
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    });
    let hello = server.ask(1, "initialize", hello).await;
    assert!(hello["capabilities"]["tools"].is_object(), "{hello}");
    server
        .send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    let tools = server.ask(2, "tools/list", json!({})).await;
    assert_eq!(tools["tools"][0]["name"], "fetch", "{tools}");

    // What the upstream received comes back, with a mask where the token stood.
    let url = "https://api.github.com/json/mcp";
    let call = json!({"name": "fetch", "arguments": {"url": url, "raw": true}});
    let answer = server.ask(3, "tools/call", call).await;
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("\"host\":\"api.github.com\"") && !text.contains(&desk.key),
        "{text}"
    );
    assert_ne!(answer["isError"], true, "{text}");
    let seen = desk.arrived("api.github.com", "/json/mcp");
    assert_eq!(seen.len(), 1, "{seen:?}");
    let bearer = format!("Bearer {}", desk.key);
    assert_eq!(headers(&seen[0], "authorization"), [bearer.as_str()]);
    let said = server.end().await;
    std::fs::write(desk.path("clients/mcp.err"), said).unwrap();
    desk.cluster.finish().await;
}
