//! What a bad database does to the feed: a poisoned change, a server that is killed, a backup that is restored.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::invariants;
use super::load::Load;
use crate::support::process::{self, metric};
use crate::support::{Api, Cluster, Minted, poll};

async fn brokers(cluster: &Cluster, session: &Minted, url: &str) -> bool {
    cluster.curl(session, &["-f", url]).await.code == 0
}

async fn state(cluster: &Cluster) -> Value {
    let text = process::get(cluster.ports.gateway_admin, "/state").await;
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// A change, in hexadecimal, of a service to a later version, whose `intercept` (field 14) has a value that nobody knows.
fn poisoned_change(spec: &str) -> String {
    // In a message what comes last holds: version (field 4) 99, intercept 77.
    let service = format!("{spec}2063704d");
    let mut length = service.len() / 2;
    let mut varint = String::new();
    while length >= 128 {
        varint = format!("{varint}{:02x}", length % 128 + 128);
        length /= 128;
    }
    format!("22{varint}{length:02x}{service}")
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_a_service_that_cannot_be_understood_refuses_its_host_and_nothing_else() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let other = cluster.plain_secret("other");
    cluster
        .credential_for("OTHER", &other, &["other.up.test"])
        .await;
    let inject = json!([{"type": "bearer", "credential": "OTHER"}]);
    let beside = json!({"host": "other.up.test", "inject": inject});
    cluster.service("other", beside).await;
    let rival = cluster.rival().await;
    let session = cluster.session().await;
    let beside = format!("https://other.up.test:{}/bytes/8", cluster.ports.https);
    let poisoned = cluster.url("/bytes/8");
    assert!(brokers(&cluster, &session, &poisoned).await);
    assert!(brokers(&cluster, &session, &beside).await);
    assert!(brokers(&cluster, &rival.session, &poisoned).await);

    let found = cluster.sql(
        "SELECT encode(s.spec, 'hex') || ' ' || s.tenant_id || ' ' || s.vault_id FROM services s \
         JOIN tenants t ON t.id = s.tenant_id WHERE s.name = 'api' AND t.name <> 'rival'",
    );
    let mut found = found.split_whitespace();
    let mut next = || found.next().unwrap().to_owned();
    let (spec, tenant, vault) = (next(), next(), next());
    let body = poisoned_change(&spec);
    cluster.sql(&format!(
        "INSERT INTO outbox (tenant_id, vault_id, body) VALUES ('{tenant}', '{vault}', '\\x{body}')"
    ));
    poll("the refusal", || async {
        let seen = cluster.curl(&session, &["-i", &poisoned]).await.seen();
        seen.contains("vault_unavailable").then_some(())
    })
    .await;
    assert!(brokers(&cluster, &session, &beside).await);
    assert!(brokers(&cluster, &rival.session, &poisoned).await);
    let shown = state(&cluster).await;
    let what = shown["quarantined"][0]["what"].as_str().unwrap();
    assert!(what.starts_with("service svc_"), "{shown}");
    for (port, name) in [
        (
            cluster.ports.gateway_admin,
            "sortie_gateway_feed_quarantined",
        ),
        (
            cluster.ports.control_admin,
            "sortie_control_feed_quarantined",
        ),
    ] {
        poll("the alarm", || async {
            (metric(port, name).await == Some(1.0)).then_some(())
        })
        .await;
    }
    // A version that is understood lifts it.
    for path in ["/**", "/bytes/**"] {
        let inject = json!([{"type": "bearer", "credential": "API_KEY"}]);
        let understood = json!({"inject": inject, "path": path});
        cluster.service("api", understood).await;
    }
    poll("brokering to resume", || async {
        brokers(&cluster, &session, &poisoned).await.then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[rival])).await;
}

/// Tries to write; answers the status.
async fn write(api: &Api) -> Option<u16> {
    let path = "/v1/tenants/-/vaults/main/services/new";
    let answer = reqwest::Client::new()
        .put(format!("{}{path}", api.base()))
        .bearer_auth(api.owner())
        .json(&json!({"host": "new.up.test"}))
        .send()
        .await;
    Some(answer.ok()?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_with_postgresql_killed_brokering_goes_on_and_no_lease_is_extended() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let second = cluster.add_control("second").await;
    let node = cluster.add_gateway("gw2", &[second.ports.feed]).await;
    let session = cluster.session().await;
    let load = Load::start(&cluster, &session, node.proxy, 2);
    load.more(50).await;
    let age = || metric(node.admin, "sortie_gateway_feed_lease_age_seconds");

    let pid = std::fs::read_to_string(cluster.path().join("control/postgres/postmaster.pid"));
    let pid = pid.unwrap().lines().next().unwrap().parse().unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    poll("writes to be refused", || async {
        (write(&second.api).await == Some(503)).then_some(())
    })
    .await;
    // The streams are open, and no beat is committed.
    poll("the lease to grow old", || async {
        (age().await? > 4.0).then_some(())
    })
    .await;
    load.more(100).await;

    // Whoever started the server starts it again; the control that ran on finds it by itself.
    cluster.control.kill().await;
    cluster.restart_control().await;
    poll("a lease", || async { (age().await? < 3.0).then_some(()) }).await;
    poll("writes", || async {
        (write(&second.api).await == Some(200)).then_some(())
    })
    .await;
    load.more(50).await;
    load.stop().await.without_failure();
    // Its journal has to be shipped first.
    Box::pin(invariants::hold(cluster, &[])).await;
    drop((node, second));
}

/// Copies a folder with its owners and modes: PostgreSQL runs as somebody else.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

async fn control(cluster: &Cluster, arguments: &[&str]) -> process::Finished {
    let config = cluster.path().join("control.toml").display().to_string();
    let program = process::program("sortie-control").display().to_string();
    let all: Vec<&str> = ["--config", &config]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    cluster.run(&program, &all, &[]).await
}

/// Brings the database to where it was, and says that it is meant.
async fn restore(cluster: &mut Cluster, backup: &Path) {
    cluster.control.stop().await;
    let data = cluster.path().join("control/postgres");
    std::fs::remove_dir_all(&data).unwrap();
    copy(backup, &data);
    let refused = control(cluster, &[]).await;
    assert_ne!(refused.code, 0);
    assert!(refused.seen().contains("sortie-control restore --fence"));
    let restored = poll("the restore", || async {
        let restored = control(cluster, &["restore", "--fence", "--output", "json"]).await;
        // The backup's last beat may be no older than that.
        (restored.code == 0 || !restored.seen().contains("a control is running"))
            .then_some(restored)
    })
    .await;
    let restored: Value = serde_json::from_str(&restored.ok()).unwrap();
    assert_eq!(restored["epoch"], 2, "{restored}");
    cluster.restart_control().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_after_a_backup_was_restored_no_token_of_before_works_and_new_ones_do() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let url = cluster.url("/bytes/8");
    let old = cluster.session().await;
    let revoked = cluster.session().await;
    assert!(brokers(&cluster, &revoked, &url).await);

    cluster.control.stop().await;
    let backup = cluster.path().join("backup");
    copy(&cluster.path().join("control/postgres"), &backup);
    cluster.restart_control().await;
    let young = cluster.session().await;
    let path = format!("/v1/tenants/-/sessions/{}:revoke", revoked.id);
    let answer = cluster.api.post(&path, json!({"wait_seconds": 20})).await;
    let revision = answer["revision"].as_str().unwrap();
    let wanted: u64 = revision.split_once('.').unwrap().1.parse().unwrap();
    assert!(!brokers(&cluster, &revoked, &url).await);
    assert!(brokers(&cluster, &young, &url).await);
    poll("the fence", || async {
        let text = std::fs::read(cluster.path().join("control/fence.json")).ok()?;
        let mark: Value = serde_json::from_slice(&text).ok()?;
        (mark["n"].as_u64()? >= wanted).then_some(())
    })
    .await;

    restore(&mut cluster, &backup).await;
    std::fs::remove_dir_all(&backup).unwrap();
    let fresh = cluster.session().await;
    poll("a new session", || async {
        brokers(&cluster, &fresh, &url).await.then_some(())
    })
    .await;
    // A gateway that knows nothing of before refuses them as well.
    let node = cluster.add_gateway("gw2", &[cluster.ports.feed]).await;
    assert_eq!(cluster.curl_at(&node, &fresh, &["-f", &url]).await.code, 0);
    for session in [&old, &revoked, &young] {
        for seen in [
            cluster.curl(session, &["-i", &url]).await.seen(),
            cluster.curl_at(&node, session, &["-i", &url]).await.seen(),
        ] {
            assert!(seen.contains("407"), "{seen}");
        }
    }
    let acts = cluster.sql("SELECT count(*) FROM audit_acts WHERE action = 'cluster.fence'");
    assert_eq!(acts.trim(), "2", "the tenant's and the cluster's");
    // What was sent since the backup is recorded in a database that is gone: the other three hold.
    let record = cluster.path().join("upstream/requests.jsonl");
    let record = std::fs::File::options().write(true).open(record).unwrap();
    record.set_len(0).unwrap();
    assert!(brokers(&cluster, &fresh, &url).await);
    Box::pin(invariants::hold(cluster, &[])).await;
}
