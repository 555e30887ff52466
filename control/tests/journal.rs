//! From gateways' journals to the audit log.

use prost::Message;
use sortie_control::database::journal::{self, Filter, alarms};
use sortie_proto::chain::Head;
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

/// A batch of a node that keeps a chain, marked at its end.
fn chained(
    gateway: &crate::support::Gateway,
    head: &mut Option<Head>,
    first: u64,
    records: &[v1::Record],
) -> v1::LaneBatch {
    let payloads: Vec<_> = records.iter().map(Message::encode_to_vec).collect();
    let start = head.unwrap_or_else(|| Head::of_lane(gateway.boot(), 0));
    let end = payloads
        .iter()
        .fold(start, |head, payload| head.then(payload));
    *head = Some(end);
    v1::LaneBatch {
        first_sequence: first,
        mark: Some(v1::Mark {
            sequence: first + records.len() as u64 - 1,
            head: end.as_bytes().to_vec(),
        }),
        payloads,
        ..v1::LaneBatch::default()
    }
}

/// T25: who deletes or rewrites a node's records before they are shipped is seen, and stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn t25_a_gap_an_edit_a_loss_and_a_fork_are_alarms_and_the_rest_is_kept() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    fixture.release_to(&gateway).await;
    let records: Vec<_> = (1..=9).map(|n| use_record(&fixture, n)).collect();
    let mut head = None;
    let whole = chained(&gateway, &mut head, 1, &records[..2]);
    assert_eq!(gateway.ship_batch(whole).await.unwrap(), 2);
    assert_eq!(fixture.count("journal_alarms").await, 0);

    // An edit: the mark is the writer's, the record is somebody else's.
    let mut edited = chained(&gateway, &mut head, 3, &records[2..4]);
    edited.payloads[0] = records[8].encode_to_vec();
    assert_eq!(gateway.ship_batch(edited.clone()).await.unwrap(), 4);
    // A record that is not even whole.
    let mut damaged = chained(&gateway, &mut head, 5, &records[4..6]);
    damaged.payloads[0] = b"scrap".to_vec();
    damaged.damaged = vec![5];
    assert_eq!(gateway.ship_batch(damaged).await.unwrap(), 6);
    // The same again, as after an answer that was lost.
    assert_eq!(gateway.ship_batch(edited).await.unwrap(), 6);
    // A gap.
    let mut behind = chained(&gateway, &mut head, 8, &records[7..8]);
    behind.after_gap = true;
    assert_eq!(gateway.ship_batch(behind).await.unwrap(), 8);
    // A fork: the node says that its lane ends before what control has.
    let ask = v1::LaneBatch {
        first_sequence: 9,
        mark: Some(v1::Mark {
            sequence: 7,
            head: vec![0; 32],
        }),
        ..v1::LaneBatch::default()
    };
    assert_eq!(gateway.ship_batch(ask).await.unwrap(), 8);
    // A loss: more was announced than the dead boot left, and what it left ends in scrap.
    let mut last = chained(&gateway, &mut head, 9, &records[8..]);
    last.mark = Some(v1::Mark {
        sequence: 20,
        head: vec![7; 32],
    });
    assert_eq!(gateway.ship_batch(last).await.unwrap(), 9);
    for _ in 0..2 {
        let end = v1::ShipRequest {
            ended: true,
            torn_lanes: vec![0],
            ..v1::ShipRequest::default()
        };
        gateway.ship_all(end).await.unwrap();
    }

    let listed = fixture
        .operator()
        .get("/v1/alarms?gateway=gw1")
        .await
        .expect(200);
    let listed: Vec<_> = listed["alarms"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|alarm| {
            let number = |field: &str| alarm[field].as_u64().unwrap();
            let kind = alarm["kind"].as_str().unwrap().to_owned();
            (kind, number("first_sequence"), number("last_sequence"))
        })
        .collect();
    let wanted = [
        ("edited", 3, 4),
        ("edited", 5, 6),
        ("gap", 7, 7),
        ("fork", 8, 8),
        ("lost", 10, 20),
        ("torn", 10, 10),
    ];
    assert_eq!(
        listed,
        wanted.map(|(kind, first, last)| (kind.to_owned(), first, last))
    );
    assert_eq!(fixture.acts("journal.alarm").await, 6);
    // Seven of nine, one of them forged; the eighth was scrap and is kept aside; the ninth never came.
    assert_eq!(fixture.count("audit_uses").await, 7);
    assert_eq!(fixture.count("quarantine").await, 1);
    let other = fixture
        .operator()
        .get("/v1/alarms?gateway=gw2")
        .await
        .expect(200);
    assert_eq!(other["alarms"].as_array().unwrap().len(), 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_beyond_those_that_are_kept_of_a_gateway_are_counted_and_old_ones_make_room() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    let gap = |lane| v1::LaneBatch {
        lane,
        first_sequence: 5,
        after_gap: true,
        ..v1::LaneBatch::default()
    };
    let counted = || {
        let alarms = &fixture.state().fleet.metrics().alarms;
        alarms.with_label_values(&["gap"]).get()
    };
    gateway.ship_batch(gap(0)).await.unwrap();
    assert_eq!((counted(), fixture.count("journal_alarms").await), (1, 1));
    let many = "INSERT INTO journal_alarms (id, gateway_id, boot_id, lane, kind, first_sequence, last_sequence) \
                SELECT gen_random_uuid(), gateway_id, boot_id, lane, kind, n, n FROM journal_alarms, \
                generate_series(101, 10099) AS n";
    fixture.alter(many).await;
    gateway.ship_batch(gap(1)).await.unwrap();
    assert_eq!(
        (counted(), fixture.count("journal_alarms").await),
        (2, 10_000)
    );
    let old = "WITH old AS (UPDATE journal_alarms SET raised_at = now() - interval '91 days' \
               WHERE first_sequence > 101 RETURNING 1) SELECT count(*) FROM old";
    assert_eq!(fixture.look(old).await, 9_998);
    let tx = fixture.database().system().await.unwrap();
    alarms::forget(&tx).await.unwrap();
    tx.commit().await.unwrap();
    gateway.ship_batch(gap(2)).await.unwrap();
    assert_eq!((counted(), fixture.count("journal_alarms").await), (3, 3));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_hand_over_records_callers_of_the_api_find_a_connection() {
    let fixture = Fixture::start().await;
    let mut gateway = fixture.enrol("gw1").await;
    fixture.release_to(&gateway).await;
    // Nobody gets past the cursors until this ends.
    gateway.ship(0, 0, vec![]).await.unwrap();
    let cursors = fixture.database().feed().await.unwrap();
    let lock = "SELECT 1 FROM journal_cursors FOR UPDATE";
    cursors.execute(lock, &[]).await.unwrap();
    let boot = gateway.boot();
    let shipping = futures_util::future::join_all((0..8).map(|_| gateway.shipping(boot)));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND datname = current_database() AND query LIKE '%journal.lock%'";
    let calling = async {
        fixture
            .wait_until("as many as may to wait", async || {
                fixture.look(waiting).await == 2
            })
            .await;
        fixture.owner.get("/v1/tenants/-").await.expect(200);
        drop(cursors);
    };
    let (shipped, ()) = tokio::join!(shipping, calling);
    assert!(shipped.iter().all(Result::is_ok), "{shipped:?}");
    fixture.stop().await;
}
