//! A restored backup has forgotten what was revoked: it is noticed, and nothing of before works after it.

use std::path::Path;

use serde_json::json;
use sortie_control::fence::restore::Restored;
use sortie_control::server::{self, NotStarted, Server};
use sortie_proto::revision::Revision;
use tonic::Code;

use crate::support::{Control, Fixture, config, empty, look};

/// As if the database had been further than it is.
fn move_ahead(folder: &Path) {
    let file = folder.join("fence.json");
    let mut mark: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    mark["n"] = (mark["n"].as_u64().unwrap() + 5).into();
    std::fs::write(&file, mark.to_string()).unwrap();
}

/// Once the beats of the control that stopped are old enough.
async fn restore(folder: &Path, url: &str) -> Restored {
    loop {
        match server::restore(&config(folder, Some(url)), None).await {
            Ok(restored) => return restored,
            Err(error) => {
                let text = sortie_control::error::Chain(&error).to_string();
                assert!(text.contains("a control is running"), "{text}");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn refused_start(folder: &Path, url: &str) -> String {
    match Server::start(config(folder, Some(url))).await {
        Ok(_) => panic!("it started"),
        Err(error) => {
            assert!(matches!(error, NotStarted::Fence(_)), "{error}");
            error.to_string()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_a_database_behind_the_fence_is_refused_until_its_restore_is_said_to_be_meant() {
    let fixture = Fixture::start().await;
    let (token, vault) = (fixture.token.clone(), fixture.vault);
    let mut gateway = fixture.enrol("gw1").await;
    let seen = Revision {
        epoch: 1,
        n: fixture.published().await,
    };
    let halted = fixture.halt().await;
    // It is where it was: nothing was restored.
    let control = Control::on(halted.folder, halted.url.clone()).await;
    let halted = control.halt().await;
    move_ahead(halted.folder.path());
    let text = refused_start(halted.folder.path(), &halted.url).await;
    assert!(text.contains("sortie-control restore --fence"), "{text}");
    let restored = restore(halted.folder.path(), &halted.url).await;
    assert_eq!((restored.epoch, restored.tenants), (2, 1));

    let control = Control::on(halted.folder, halted.url).await;
    assert_eq!(control.acts("cluster.fence").await, 2);
    gateway.dial(control.feed());
    let mut stream = gateway.follow(Some(seen), &[]).await;
    let welcome = stream.welcome().await;
    assert!(!welcome.resumed);
    assert_eq!(welcome.revision.unwrap().epoch, 2);
    stream.subscribe(vault, &token, None).await;
    assert_eq!(stream.refused().await.code, "session_revoked");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_not_taken_for_a_new_cluster_beside_the_fence_of_another() {
    let control = Control::start().await;
    let halted = control.halt().await;
    let other = Control::start().await;
    let other = other.halt().await;
    let text = refused_start(halted.folder.path(), &other.url).await;
    assert!(text.contains("another cluster"), "{text}");
    // Nothing is made in one that is refused.
    let bare = empty().await;
    let text = refused_start(halted.folder.path(), &bare).await;
    assert!(text.contains("the database is empty"), "{text}");
    let made = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(look(&bare, made).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_under_a_control_that_runs() {
    let control = Control::start().await;
    control
        .wait_until("a beat", async || control.count("beats").await > 0)
        .await;
    let error = server::restore(&control.config(), None).await.unwrap_err();
    let text = sortie_control::error::Chain(&error).to_string();
    assert!(text.contains("a control is running"), "{text}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_seen_more_than_the_database_is_refused_and_is_an_alarm() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let ahead = Revision {
        epoch: 1,
        n: fixture.published().await + 1,
    };
    let witnesses = || fixture.state().fleet.metrics().witnesses.get();
    let mut stream = gateway.follow(Some(ahead), &[]).await;
    assert_eq!(stream.status().await, Code::FailedPrecondition);
    assert_eq!(witnesses(), 1);
    let _stream = gateway.welcomed().await;
    assert_eq!(witnesses(), 0);
    // One that goes to another replica from here on is no alarm for ever.
    let mut stream = gateway.follow(Some(ahead), &[]).await;
    assert_eq!(stream.status().await, Code::FailedPrecondition);
    fixture.revoke(fixture.session).await;
    fixture
        .wait_until("the order to come that far", async || witnesses() == 0)
        .await;
    fixture.stop().await;
}

/// As if a standby took over that had not seen the last change.
const GO_BACK: &str = "WITH back AS (UPDATE cluster SET head_n = head_n - 1 RETURNING head_n) \
                       DELETE FROM changes USING back WHERE n > back.head_n";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_back_under_a_control_that_runs_is_not_written_to_any_more() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut stream = gateway.welcomed().await;
    stream.send(crate::support::beat(1)).await;
    stream.echo().await;
    let last = fixture.published().await;
    fixture.alter(GO_BACK).await;
    // The revision that its first change would get has been given out before, to what is lost.
    let revoke = "/v1/tenants/-/agents/runner:revoke";
    let refused = fixture.owner.post(revoke, json!({ "wait_seconds": 1 }));
    refused.await.refused("unavailable");
    let vault = json!({ "name": "later" });
    let refused = fixture.owner.post("/v1/tenants/-/vaults", vault.clone());
    refused.await.refused("unavailable");
    let beats = || fixture.state().fleet.metrics().beats.get();
    fixture
        .wait_until("a beat that is refused", async || {
            let before = beats();
            tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
            beats() == before
        })
        .await;
    let head = fixture.look("SELECT head_n FROM cluster").await;
    assert_eq!(head, i64::try_from(last).unwrap() - 1);
    // Changes of another replica hide it, and mend nothing.
    fixture
        .look("UPDATE cluster SET head_n = head_n + 9 RETURNING head_n")
        .await;
    let refused = fixture.owner.post("/v1/tenants/-/vaults", vault);
    refused.await.refused("unavailable");
    let waited = fixture.state().fleet.enforced(
        fixture.tenant,
        None,
        Revision { epoch: 1, n: 1 },
        std::time::Duration::from_secs(1),
    );
    assert_eq!(
        waited.await.unwrap_err().code(),
        sortie_proto::code::Code::Unavailable
    );
    // Nor does a start: the fence has seen what was seen.
    let file = fixture.config().data_dir.join("fence.json");
    fixture
        .wait_until("the fence to be written", async || {
            let mark: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            mark["n"] == last
        })
        .await;
    let halted = fixture.halt().await;
    let lost = "UPDATE cluster SET head_n = head_n - 9 RETURNING head_n";
    look(&halted.url, lost).await;
    let text = refused_start(halted.folder.path(), &halted.url).await;
    assert!(text.contains("sortie-control restore --fence"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_while_a_backup_was_restored_mints_what_is_good_from_then_on() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    // What `restore --fence` does.
    fixture
        .alter("UPDATE cluster SET epoch = 2, head_n = 0, compacted_n = 0")
        .await;
    fixture
        .wait_until("the epoch to be read", async || {
            fixture.state().fleet.epoch() == 2
        })
        .await;
    let wanted = json!({ "agent": "runner", "vaults": ["v"] });
    let minted = fixture.owner.post("/v1/tenants/-/sessions", wanted).await;
    let minted = minted.expect(201);
    let mut stream = gateway.follow(None, &[]).await;
    assert_eq!(stream.welcome().await.revision.unwrap().epoch, 2);
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    assert_eq!(stream.refused().await.code, "session_revoked");
    let token = minted["token"].as_str().unwrap();
    stream.subscribe(fixture.vault, token, None).await;
    stream.tenant().await;
    stream.vault().await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fence_an_epoch_is_named_that_was_never_used() {
    let control = Control::start().await;
    let halted = control.halt().await;
    let (folder, config) = (
        halted.folder.path(),
        config(halted.folder.path(), Some(&halted.url)),
    );
    look(
        &halted.url,
        "WITH gone AS (DELETE FROM beats RETURNING 1) SELECT count(*) FROM gone",
    )
    .await;
    for (fence, epoch, said) in [
        (None, None, "--epoch N"),
        (Some("{"), None, "--epoch N"),
        (None, Some(1), "that epoch was used"),
    ] {
        let file = folder.join("fence.json");
        match fence {
            Some(text) => std::fs::write(&file, text).unwrap(),
            // It may be gone already.
            None => drop(std::fs::remove_file(&file)),
        }
        let error = server::restore(&config, epoch).await.unwrap_err();
        let text = sortie_control::error::Chain(&error).to_string();
        assert!(text.contains(said), "{text}");
    }
    let restored = server::restore(&config, Some(7)).await.unwrap();
    assert_eq!((restored.epoch, restored.seen), (7, None));
    let control = Control::on(halted.folder, halted.url).await;
    assert_eq!(control.state().fleet.epoch(), 7);
    control.stop().await;
}
