//! Real coding agents, started by the commands of their quick starts behind `sortie run`, with a model stand-in at their
//! vendor's hosts that lets nobody in without the key.
//!
//! The agents find no network but the gateway's, in a vault that refuses what no service covers: whatever they would
//! like to say at home, they have to work without.

mod desk;
mod mcp;

use self::desk::{Desk, headers};

/// The requests at a model arrived with the key, in this header and form.
fn check_arrived(desk: &Desk, (host, path): (&str, &str), header: &str, at_least: usize) {
    let seen = desk.arrived(host, path);
    assert!(seen.len() >= at_least, "{seen:?}");
    let expect = match header {
        "authorization" => format!("Bearer {}", desk.key),
        _ => desk.key.clone(),
    };
    for request in &seen {
        assert_eq!(headers(request, header), [expect.as_str()], "{request}");
    }
}

const ANTHROPIC: (&str, &str) = ("api.anthropic.com", "/v1/messages");
const OPENAI: (&str, &str) = ("api.openai.com", "/v1/responses");

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_works_with_a_placeholder() {
    let desk = Desk::with_model(&["api.anthropic.com"]).await;
    desk.follows("quickstarts/claude-code.md").await;
    check_arrived(&desk, ANTHROPIC, "x-api-key", 2);
    #[cfg(target_os = "linux")]
    isolated(&desk).await;
    desk.cluster.finish().await;
}

/// Whether there can be a sandbox at all.
fn can_isolate() -> bool {
    #[cfg(target_os = "linux")]
    return !super::isolate::ways().is_empty();
    #[cfg(not(target_os = "linux"))]
    true
}

/// The same where the gateway is the only way out, with no question asked before a command.
#[cfg(target_os = "linux")]
async fn isolated(desk: &Desk) {
    for way in super::isolate::ways() {
        let before = desk.arrived(ANTHROPIC.0, ANTHROPIC.1).len();
        let script = format!(
            "sortie run --isolate={way} -- claude -p \
             'Please run `printenv ANTHROPIC_API_KEY; curl -sS --noproxy \"*\" --max-time 5 https://1.1.1.1 || echo alone`.' \
             --allowedTools Bash"
        );
        let seen = desk.types(&script).await.ok();
        assert!(
            seen.contains("sk-ant-__ANTHROPIC_API_KEY__") && seen.contains("alone"),
            "{way}: {seen}"
        );
        assert!(
            seen.contains("brokered   api.anthropic.com"),
            "{way}: {seen}"
        );
        assert!(
            desk.arrived(ANTHROPIC.0, ANTHROPIC.1).len() >= before + 2,
            "{way}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_works_with_a_placeholder_for_a_subscriptions_token() {
    let desk = Desk::with_model(&["api.anthropic.com"]).await;
    desk.follows("quickstarts/claude-code-subscription.md")
        .await;
    check_arrived(&desk, ANTHROPIC, "authorization", 2);
    for request in desk.arrived(ANTHROPIC.0, ANTHROPIC.1) {
        assert_eq!(headers(&request, "x-api-key"), Vec::<&str>::new());
    }
    desk.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_works_with_a_placeholder() {
    let desk = Desk::with_model(&["api.openai.com"]).await;
    // Where nothing can be isolated, Codex's own sandbox cannot start either; a person would switch it off.
    let unconfined = (" exec ", " exec --sandbox danger-full-access ");
    let part = if can_isolate() { ("", "") } else { unconfined };
    desk.follows_with("quickstarts/codex.md", part).await;
    // One WebSocket holds the whole conversation: the key is put into its handshake.
    check_arrived(&desk, OPENAI, "authorization", 1);
    let seen = desk.arrived(OPENAI.0, OPENAI.1);
    assert!(
        !headers(&seen[0], "sec-websocket-key").is_empty(),
        "{seen:?}"
    );
    desk.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode_works_with_a_placeholder() {
    let desk = Desk::with_model(&["api.openai.com", "models.opencode.ai"]).await;
    desk.follows("quickstarts/opencode.md").await;
    check_arrived(&desk, OPENAI, "authorization", 2);
    desk.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_ones_own_in_python_works_with_a_placeholder() {
    let desk = Desk::with_model(&["api.anthropic.com"]).await;
    desk.takes("sdk/examples/agent.py");
    desk.follows("quickstarts/python.md").await;
    check_arrived(&desk, ANTHROPIC, "x-api-key", 2);
    desk.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_ones_own_in_node_works_with_a_placeholder() {
    let desk = Desk::with_model(&["api.openai.com"]).await;
    desk.takes("sdk/examples/agent.mjs");
    // As `npm install undici` has it: modules are looked for beside a module, and not where NODE_PATH says.
    std::os::unix::fs::symlink(desk::modules(), desk.path("work/node_modules")).unwrap();
    desk.follows("quickstarts/node.md").await;
    check_arrived(&desk, OPENAI, "authorization", 2);
    desk.cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_wants_another_key_says_so_to_the_agent() {
    let desk = Desk::with_model(&["api.anthropic.com"]).await;
    desk.takes("sdk/examples/agent.py");
    let script = "printf %s sk-ant-wrong | sortie service add anthropic\n\
                  sortie run --quiet -- python3 agent.py hello || echo failed\n\
                  sortie service add anthropic --renew\n\
                  sortie run --quiet -- python3 agent.py hello";
    let seen = desk.types(script).await.ok();
    assert!(
        seen.contains("401: ") && seen.contains("\nfailed\n"),
        "{seen}"
    );
    assert!(seen.ends_with("Nothing to run.\n"), "{seen}");
    let keys = desk.arrived(ANTHROPIC.0, ANTHROPIC.1);
    let keys: Vec<_> = keys
        .iter()
        .flat_map(|seen| headers(seen, "x-api-key"))
        .collect();
    assert_eq!(keys, ["sk-ant-wrong", &desk.key]);
    desk.cluster.finish().await;
}
