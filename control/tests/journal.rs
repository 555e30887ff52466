//! From gateways' journals to the audit log.

use sortie_control::database::journal::{self, Filter};
use sortie_proto::wire::v1;

use crate::support::{Fixture, completion_record, use_record};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_in_once_and_gaps_are_refused() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
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
    if let Some(v1::record::Event::Use(event)) = &mut nul.event {
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
