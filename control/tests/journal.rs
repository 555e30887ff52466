//! From gateways' journals to the audit log.

use sortie_control::database::journal::{self, Filter};
use sortie_proto::wire::v1;

use crate::support::{Fixture, use_record};

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
