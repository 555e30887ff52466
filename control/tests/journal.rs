//! From gateways' journals to the audit log.

use sortie_control::database::journal::{self, Filter};
use sortie_proto::id::TenantId;
use sortie_proto::wire::v1;
use sortie_proto::wire::v1::record::Event;

use crate::support::{Fixture, completion_record, use_record};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_in_once_and_gaps_are_refused() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    fixture.release_to(&gateway).await;
    let record = |n| use_record(&fixture, n);
    assert_eq!(gateway.ship(0, 0, vec![]).await.unwrap(), 0);
    assert_eq!(
        gateway
            .ship(0, 1, vec![record(1), record(2)])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        gateway
            .ship(0, 1, vec![record(1), record(2), record(3)])
            .await
            .unwrap(),
        3
    );
    let gap = gateway.ship(0, 5, vec![record(5)]).await;
    assert_eq!(gap.unwrap_err().code(), tonic::Code::FailedPrecondition);
    // A record that means nothing does not hold up the ones behind it.
    let mut nul = record(5);
    if let Some(Event::Use(event)) = &mut nul.event {
        event.path.push('\0');
    }
    let records = vec![v1::Record::default(), nul, record(6)];
    assert_eq!(gateway.ship(0, 4, records).await.unwrap(), 6);
    assert_eq!(gateway.ship(1, 0, vec![]).await.unwrap(), 0);
    assert_eq!(fixture.count("audit_uses").await, 4);
    assert_eq!(fixture.count("quarantine").await, 2);
    let tx = fixture.database().read(fixture.tenant).await.unwrap();
    let mut filter = Filter {
        tenant: fixture.tenant,
        vault: Some(fixture.vault),
        session: None,
        since_micros: None,
        until_micros: None,
        before: None,
        limit: 3,
    };
    let first = journal::list(&tx, &filter).await.unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(first[0].1.outcome, "brokered");
    assert_eq!(first[0].1.credentials, ["TOKEN@2"]);
    filter.before = first.last().map(|(cursor, _)| *cursor);
    assert_eq!(journal::list(&tx, &filter).await.unwrap().len(), 1);
    drop(tx);
    fixture.stop().await;
}

/// Prints how fast; what it asserts is that each record is there once.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_a_thousand_are_taken_in_whole() {
    const BATCHES: u64 = 20;
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    fixture.release_to(&gateway).await;
    let batch = |first: u64| -> Vec<_> {
        (first..first + 1_000)
            .map(|n| match n % 2 {
                0 => use_record(&fixture, n),
                _ => completion_record(&fixture, n),
            })
            .collect()
    };
    let batches: Vec<_> = (0..BATCHES).map(|n| batch(n * 1_000 + 1)).collect();
    let begun = tokio::time::Instant::now();
    for (first, records) in (1..).step_by(1_000).zip(batches) {
        let cursor = gateway.ship(0, first, records).await.unwrap();
        assert_eq!(cursor, first + 999);
    }
    let rate = 1_000.0 * 20.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} records a second in batches of 1,000");
    assert_eq!(fixture.count("audit_uses").await, 10_000);
    assert_eq!(fixture.count("audit_completions").await, 10_000);
    let begun = tokio::time::Instant::now();
    for n in 0..200 {
        let record = vec![use_record(&fixture, n), completion_record(&fixture, n)];
        gateway.ship(1, n * 2 + 1, record).await.unwrap();
    }
    println!("{:.2} ms a batch of 2", begun.elapsed().as_secs_f64() * 5.0);
    fixture.stop().await;
}

fn use_of(record: &mut v1::Record) -> &mut v1::Use {
    match &mut record.event {
        Some(Event::Use(event)) => event,
        other => panic!("no use: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_speaks_only_of_tenants_that_it_served() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let mut refused = use_record(&fixture, 2);
    use_of(&mut refused).outcome = v1::Outcome::Refused.into();
    let records = vec![use_record(&fixture, 1), refused];
    assert_eq!(gateway.ship(0, 1, records).await.unwrap(), 2);
    assert_eq!(fixture.count("quarantine").await, 1);
    assert_eq!(fixture.count("audit_uses").await, 1);
    fixture.release_to(&gateway).await;
    let mut foreign = use_record(&fixture, 4);
    use_of(&mut foreign).tenant_id = TenantId::generate().to_bytes();
    let records = vec![use_record(&fixture, 3), foreign];
    assert_eq!(gateway.ship(0, 3, records).await.unwrap(), 4);
    assert_eq!(fixture.count("quarantine").await, 2);
    assert_eq!(fixture.count("audit_uses").await, 2);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_of_times_and_of_anothers_requests_is_bounded() {
    let fixture = Fixture::start().await;
    let (mut one, mut other) = (fixture.enrol("gw1").await, fixture.enrol("gw2").await);
    fixture.release_to(&one).await;
    let mut late = use_record(&fixture, 1);
    use_of(&mut late).at_micros = 4_000_000_000_000_000;
    let mut early = use_record(&fixture, 2);
    use_of(&mut early).at_micros = 0;
    let decision = use_of(&mut late).decision_id.clone();
    one.ship(0, 1, vec![late, early]).await.unwrap();
    let mut completion = completion_record(&fixture, 3);
    if let Some(Event::Completion(event)) = &mut completion.event {
        event.decision_id = decision;
        event.status = 500;
    }
    other.ship(0, 1, vec![completion.clone()]).await.unwrap();
    let bounds = "at BETWEEN now() - interval '32 days' AND now() + interval '6 minutes'";
    let within = fixture.count(&format!("audit_uses WHERE {bounds}")).await;
    assert_eq!(within, 2);
    let filter = Filter {
        tenant: fixture.tenant,
        vault: Some(fixture.vault),
        session: None,
        since_micros: None,
        until_micros: None,
        before: None,
        limit: 10,
    };
    let tx = fixture.database().read(fixture.tenant).await.unwrap();
    let listed = journal::list(&tx, &filter).await.unwrap();
    assert_eq!(listed[0].1.status, 0, "another gateway completed it");
    if let Some(Event::Completion(event)) = &mut completion.event {
        event.status = 200;
    }
    one.ship(1, 1, vec![completion]).await.unwrap();
    let listed = journal::list(&tx, &filter).await.unwrap();
    assert_eq!(listed[0].1.status, 200);
    drop(tx);
    fixture.stop().await;
}
