//! Versions that are mixed: gateways that are older or newer than this control.

use sortie_control::database::journal::{self, Filter};
use sortie_proto::change::Tombstone;
use sortie_proto::id::ServiceId;
use sortie_proto::revision::Revision;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::record::Event;

use crate::support::{Fixture, beat, completion_record, use_record};

/// The first message of the first version: no tenants, no capabilities, and nothing that came later.
fn first_hello() -> v1::Hello {
    v1::Hello {
        version: "0.0.1".to_owned(),
        boot_id: vec![7; 16],
        ..v1::Hello::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_the_first_version_follows_and_is_sent_only_what_it_knows() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("old").await;
    let mut stream = gateway.follow_with(first_hello()).await;
    // Every event below is one of the first version's, or the helper that reads it fails.
    let welcome = stream.welcome().await;
    assert!(!welcome.resumed);
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    stream.tenant().await;
    stream.vault().await;
    let service = Tombstone::Service(fixture.vault, ServiceId::generate());
    let revision = fixture.publish(Some(fixture.vault), service).await;
    let change = stream.change().await;
    assert_eq!(Revision::from(change.revision.unwrap()), revision);
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);
    stream.acknowledge(revision).await;
    // And it resumes, as it did.
    let mut stream = gateway
        .follow_with(v1::Hello {
            resume: Some(revision.into()),
            ..first_hello()
        })
        .await;
    assert!(stream.welcome().await.resumed);
    let records = vec![use_record(&fixture, 1), completion_record(&fixture, 2)];
    assert_eq!(gateway.ship(0, 1, records).await.unwrap(), 2);
    assert_eq!(fixture.count("quarantine").await, 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_gateway_says_is_kept_or_ignored_and_nothing_ends() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("new").await;
    let mut hello = first_hello();
    hello.capabilities = vec!["from.the.future".to_owned()];
    let mut stream = gateway.follow_with(hello).await;
    stream.welcome().await;
    stream.subscribe(fixture.vault, &fixture.token, None).await;
    stream.tenant().await;
    stream.vault().await;
    stream.send_unknown().await;
    stream.send(beat(1)).await;
    assert_eq!(stream.echo().await.nonce, 1);

    let mut outcome = use_record(&fixture, 1);
    let mut nonsense = use_record(&fixture, 2);
    let mut code = completion_record(&fixture, 3);
    match (&mut outcome.event, &mut nonsense.event, &mut code.event) {
        (Some(Event::Use(one)), Some(Event::Use(none)), Some(Event::Completion(end))) => {
            one.outcome = 900;
            none.outcome = -1;
            end.code = "from_the_future".to_owned();
            end.decision_id.clone_from(&one.decision_id);
        }
        other => panic!("{other:?}"),
    }
    let records = vec![outcome, nonsense, code];
    assert_eq!(gateway.ship(0, 1, records).await.unwrap(), 3);
    assert_eq!(
        fixture.count("quarantine").await,
        1,
        "what is no outcome at all"
    );
    let tx = fixture.database().read(fixture.tenant).await.unwrap();
    let filter = Filter {
        tenant: fixture.tenant,
        vault: None,
        session: None,
        since_micros: None,
        until_micros: None,
        before: None,
        limit: 10,
    };
    let listed = journal::list(&tx, &filter).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.outcome, "unknown");
    assert_eq!(listed[0].1.code, "from_the_future");
    drop(tx);
    // The number is kept: who knows it later reads it.
    assert_eq!(fixture.count("audit_uses WHERE outcome = 900").await, 1);
    fixture.stop().await;
}
