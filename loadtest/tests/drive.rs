//! The generators against a real cluster: control on its own PostgreSQL, gateways, the upstream. The programs stand
//! beside `sortie-loadtest`: `cargo build --workspace --bins` makes them, and `make test` does that first.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SCENARIO: &str = r#"
    name = "smoke"
    about = "Every kind of agent, for two seconds."
    warmup_seconds = 0.2

    [cluster]
    controls = 2
    gateways = 2
    tenants = 2
    hosts = 10

    [[phase]]
    name = "all"
    seconds = 2

    [[phase.group]]
    name = "http1"
    agents = 5
    rate = 20
    path = "/echo/split?at=9"

    [[phase.group]]
    name = "http2"
    tenant = 1
    agents = 2
    protocol = "http2"
    streams = 4
    rate = 20
    path = "/json"

    [[phase.group]]
    name = "churn"
    agents = 4
    rate = 10
    hosts = 10
    requests_per_connection = 2

    [[phase.group]]
    name = "sse"
    agents = 3
    kind = "sse"
    rate = 3
    path = "/sse?n=3&interval_ms=20"

    [[phase.group]]
    name = "websocket"
    agents = 3
    kind = "websocket"
    rate = 10

    [[phase.group]]
    name = "waiting"
    agents = 2
    kind = "waiting"

    [[phase.group]]
    name = "upload"
    agents = 2
    kind = "upload"

    [[phase.group]]
    name = "download"
    agents = 2
    kind = "download"

    [[phase.group]]
    name = "direct"
    way = "direct"
    agents = 2
    rate = 10
"#;

/// Runs a tool with the programs that were built beside it.
fn run(arguments: &[&str]) -> Output {
    let own = Path::new(env!("CARGO_BIN_EXE_sortie-loadtest"));
    let program = |name: &str| own.with_file_name(name);
    assert!(
        program("sortie-gateway").exists(),
        "cargo build --workspace --bins comes first"
    );
    Command::new(own)
        .args(arguments)
        .arg("--control")
        .arg(program("sortie-control"))
        .arg("--gateway")
        .arg(program("sortie-gateway"))
        .arg("--json")
        .output()
        .unwrap()
}

fn outcome(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{error}:\n{said}")
    })
}

#[test]
fn every_kind_of_agent_is_answered_and_sees_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("smoke.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let results = folder.path().join("results");
    let output = run(&[
        "drive",
        "--scenario",
        file.to_str().unwrap(),
        "--results",
        results.to_str().unwrap(),
    ]);
    let outcome = outcome(&output);
    assert!(output.status.success(), "{outcome:#}");
    let groups = outcome["details"]["groups"].as_object().unwrap();
    for (label, group) in groups {
        assert_eq!(group["errors"], serde_json::json!({}), "{label}");
        assert_eq!(group["secrets_seen"], 0, "{label}");
        let holds = ["waiting", "upload", "download"];
        if !holds.iter().any(|kind| label.ends_with(kind)) {
            assert!(group["answered"].as_u64().unwrap() > 0, "{label}");
        }
    }
    assert_eq!(groups.len(), 9);
    for end in [".json", ".md", "-latency.svg"] {
        assert!(results.join(format!("smoke{end}")).exists(), "{end}");
    }
}

#[test]
fn simulated_gateways_follow_through_a_restart_of_control() {
    let output = run(&[
        "fleet",
        "--gateways=6",
        "--vaults=9",
        "--revocations=2",
        "--changes=3",
    ]);
    let outcome = outcome(&output);
    let rows = outcome["details"].as_object().unwrap();
    // Each of nine vaults at two gateways, and one at all six.
    assert_eq!(rows["vaults that gateways hold, counted at each"], 24.0);
    assert_eq!(rows["subscriptions that were refused"], 0.0);
    let restarted = |figure: &Value| {
        figure["title"]
            .as_str()
            .unwrap()
            .starts_with("control restart")
    };
    let figures = outcome["figures"].as_array().unwrap();
    assert_eq!(figures.iter().filter(|figure| restarted(figure)).count(), 2);
}

#[test]
fn what_is_revoked_is_cut_at_every_loaded_gateway() {
    let output = run(&[
        "revocation",
        "--gateways=2",
        "--controls=1",
        "--times=2",
        "--rate=20",
        "--bystanders=2",
    ]);
    let outcome = outcome(&output);
    // Each of two sessions had three connections at each of two gateways, and all of them ended.
    assert_eq!(outcome["tables"][0]["rows"][1][1], "12", "{outcome:#}");
}

#[test]
fn idle_tunnels_are_held_and_answer_afterwards() {
    let output = run(&["memory", "--counts=20,40", "--gateways=2", "--kind=idle1"]);
    let outcome = outcome(&output);
    assert_eq!(
        outcome["details"][0]["checked"],
        serde_json::json!([80, 80])
    );
}
