//! Row-level security: the second wall between tenants. The tables are those that the database has, so that none can
//! be forgotten.

use serde_json::json;
use sortie_control::database::{Transaction, changes};
use sortie_proto::change::{Object, Tombstone};
use sortie_proto::id::{TenantId, VaultId};

use crate::support::{Control, Fixture, completion_record, use_record};

/// A table, and what the role of tenants' transactions may do with it.
struct Table {
    name: String,
    /// The column that says whose a row is.
    owner: Option<&'static str>,
    partition: bool,
    walled: bool,
    select: bool,
    change: Vec<&'static str>,
}

async fn tables(tx: &Transaction) -> Vec<Table> {
    let rows = tx
        .query(
            "SELECT relname::text, relispartition, relrowsecurity AND relforcerowsecurity, \
             EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped), \
             has_table_privilege('sortie_app', c.oid, 'SELECT'), has_table_privilege('sortie_app', c.oid, 'INSERT'), \
             has_table_privilege('sortie_app', c.oid, 'UPDATE'), has_table_privilege('sortie_app', c.oid, 'DELETE') \
             FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname",
            &[],
        )
        .await
        .unwrap();
    let table = |row: &tokio_postgres::Row| {
        let name: String = row.get(0);
        let kinds = [(5, "INSERT"), (6, "UPDATE"), (7, "DELETE")];
        Table {
            owner: match (name.as_str(), row.get(3)) {
                ("tenants", _) => Some("id"),
                (_, true) => Some("tenant_id"),
                (_, false) => None,
            },
            name,
            partition: row.get(1),
            walled: row.get(2),
            select: row.get(4),
            change: kinds
                .into_iter()
                .filter(|(at, _)| row.get(*at))
                .map(|(_, kind)| kind)
                .collect(),
        }
    };
    rows.iter().map(table).collect()
}

/// Rows of the fixture's tenant in every table that tenants' transactions may read.
async fn fill(fixture: &Fixture) {
    let vault = "/v1/tenants/-/vaults/v";
    let value = json!({ "value": "a value of some length", "destinations": [{ "host": "api.example.com" }] });
    for _ in 0..2 {
        let path = format!("{vault}/credentials/TOKEN");
        fixture.owner.put(&path, value.clone()).await.expect(200);
    }
    let service = json!({ "host": "api.example.com" });
    let path = format!("{vault}/services/example");
    fixture.owner.put(&path, service).await.expect(200);
    let revoke = format!("/v1/tenants/-/sessions/{}:revoke", fixture.session);
    fixture.owner.call(&revoke).await.expect(200);
    let mut gateway = fixture.enrol("gw1").await;
    fixture.release_to(&gateway).await;
    let records = vec![use_record(fixture, 1), completion_record(fixture, 2)];
    gateway.ship(0, 1, records).await.unwrap();
}

async fn count(tx: &Transaction, sql: &str) -> i64 {
    tx.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_transaction_meets_nothing_of_another_in_any_table() {
    let fixture = Fixture::start().await;
    fill(&fixture).await;
    let stranger = fixture.tenant("stranger").await;
    let own = stranger.get("/v1/tenants/-").await.expect(200);
    let stranger: TenantId = own["id"].as_str().unwrap().parse().unwrap();
    let system = fixture.database().system().await.unwrap();
    let tables = tables(&system).await;
    assert!(tables.len() > 25, "the tables were not found");
    for table in &tables {
        let name = &table.name;
        let reaches = table.select || !table.change.is_empty();
        assert!(!(table.partition && reaches), "{name} bypasses its parent");
        assert!(table.walled || !reaches, "{name} has no wall");
        let Some(owner) = table.owner.filter(|_| table.select) else {
            continue;
        };
        let theirs = format!("{name} WHERE {owner} = '{}'", fixture.tenant.uuid());
        let sql = format!("SELECT count(*) FROM {theirs}");
        assert_ne!(count(&system, &sql).await, 0, "{name} proves nothing");
        let tx = fixture.database().tenant(stranger).await.unwrap();
        assert_eq!(count(&tx, &sql).await, 0, "{name} is read across");
        let sql = format!(
            "SELECT count(*) FROM {name} WHERE {owner} <> '{}'",
            stranger.uuid()
        );
        assert_eq!(count(&tx, &sql).await, 0, "{name} is read across");
        let ours = format!(
            "SELECT count(*) FROM {name} WHERE {owner} = '{}'",
            stranger.uuid()
        );
        let ours = u64::try_from(count(&system, &ours).await).unwrap();
        for kind in &table.change {
            let (sql, may_change) = match *kind {
                "UPDATE" => (format!("UPDATE {name} SET {owner} = {owner}"), ours),
                "DELETE" => (format!("DELETE FROM {theirs}"), 0),
                _ => continue,
            };
            let changed = tx.execute(&sql, &[]).await.unwrap();
            assert_eq!(changed, may_change, "{name} is changed across: {kind}");
        }
    }
    let reached = tables.iter().filter(|table| table.select).count();
    assert!(reached >= 15, "{reached} tables were tried");
    drop(system);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_transaction_writes_no_row_of_another() {
    let control = Control::start().await;
    let mut ids = Vec::new();
    for name in ["mine", "theirs"] {
        let owner = control.vault(name).await;
        let tenant = owner.get("/v1/tenants/-").await.expect(200);
        ids.push(tenant["id"].as_str().unwrap().parse::<TenantId>().unwrap());
    }
    let (mine, theirs) = (ids[0], ids[1]);
    let database = control.database();
    let refused = [
        format!(
            "INSERT INTO agents (id, tenant_id, name, key_hash) VALUES (gen_random_uuid(), '{}', 'x', decode(repeat('00', 32), 'hex'))",
            theirs.uuid()
        ),
        format!("UPDATE vaults SET tenant_id = '{}'", theirs.uuid()),
        "UPDATE tenants SET enabled = true".to_owned(),
        "DELETE FROM audit_acts".to_owned(),
        "UPDATE audit_acts SET actor = 'x'".to_owned(),
    ];
    for sql in refused {
        let tx = database.tenant(mine).await.unwrap();
        assert!(tx.execute(&sql, &[]).await.is_err(), "{sql}");
    }
    let vault = VaultId::generate();
    let object = Object::Tombstone(Tombstone::Vault(vault));
    let tx = database.tenant(mine).await.unwrap();
    let published = changes::publish(&tx, Some(theirs), Some(vault), &object).await;
    assert!(published.is_err(), "a change of another tenant");
    drop(tx);
    // The setting ends with its transaction, though the connection is used again.
    for tenant in [theirs, mine] {
        let tx = database.tenant(tenant).await.unwrap();
        let row = tx.query_one("SELECT id FROM tenants", &[]).await.unwrap();
        assert_eq!(row.get::<_, uuid::Uuid>(0), tenant.uuid());
    }
    control.stop().await;
}
