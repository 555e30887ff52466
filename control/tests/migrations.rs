//! How the schema may change while versions are mixed: migrations only expand, unless their name says otherwise, and
//! control runs on a database that a later version has expanded.

use std::path::Path;

use sortie_control::database::{Connector, migrate};
use sortie_control::server::{NotStarted, Server};

use crate::support::{Control, config, folder, fresh};

/// The last migration of the schema that every version knows; before it there was no release.
const BASE: u32 = 2;

/// What a statement must not say, unless its file is named as contracting: it takes away what the version before uses,
/// or asks of it what it does not do.
const CONTRACTING: &[&str] = &[
    "DROP TABLE",
    "DROP VIEW",
    "DROP FUNCTION",
    "DROP TYPE",
    "DROP SCHEMA",
    "DROP COLUMN",
    "RENAME",
    "SET NOT NULL",
    "SET DATA TYPE",
    "ADD CONSTRAINT",
    "REVOKE ",
    "TRUNCATE",
    "DELETE FROM",
];

/// The statements of a migration without comments, in capitals and with single spaces.
fn statements(sql: &str) -> Vec<String> {
    let code = sql.lines().map(|line| match line.split_once("--") {
        Some((code, _comment)) => code,
        None => line,
    });
    let code = code.collect::<Vec<_>>().join(" ").to_uppercase();
    code.split(';')
        .map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|one| !one.is_empty())
        .collect()
}

/// What of a statement the version before could not bear.
fn contracts(statement: &str) -> Option<String> {
    let mut found = CONTRACTING.iter();
    if let Some(found) = found.find(|what| statement.contains(**what) && !widens(statement, what)) {
        return Some((*found).to_owned());
    }
    if !statement.starts_with("ALTER TABLE") {
        return None;
    }
    // Each part of an `ALTER TABLE` is looked at by itself.
    let mut parts = statement.split(',');
    parts.find_map(|part| {
        let adds = part.contains("ADD COLUMN") || part.contains(" ADD ");
        if adds
            && part.contains("NOT NULL")
            && !part.contains("DEFAULT")
            && !part.contains("GENERATED")
        {
            return Some("NOT NULL without a default".to_owned());
        }
        (part.contains("ALTER COLUMN") && part.contains(" TYPE "))
            .then(|| "a change of type".to_owned())
    })
}

/// Whether each constraint that a statement adds takes the place of one of the same name, to allow more.
fn widens(statement: &str, what: &str) -> bool {
    let mut added = statement.split("ADD CONSTRAINT ").skip(1);
    what == "ADD CONSTRAINT"
        && added.all(|rest| {
            let name = rest.split_whitespace().next().unwrap_or_default();
            statement.contains(&format!("DROP CONSTRAINT {name},"))
        })
}

/// The version from which a contracting migration is safe, by its name.
fn safe_from(name: &str) -> Option<[u16; 3]> {
    let (_number, name) = name.split_once("__")?;
    let mut parts = name.strip_prefix("contract_")?.split('_');
    let mut next = || parts.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

fn problems(name: &str, sql: &str) -> Vec<String> {
    let says_so = name.contains("contract");
    let found: Vec<_> = statements(sql)
        .iter()
        .filter_map(|one| contracts(one))
        .collect();
    match (says_so, safe_from(name)) {
        (true, None) => vec![format!(
            "{name}: write V<n>__contract_<major>_<minor>_<patch>_<what>"
        )],
        (true, Some(_)) => Vec::new(),
        (false, _) => {
            let found = found.into_iter();
            found
                .map(|what| format!("{name}: {what} contracts"))
                .collect()
        }
    }
}

#[test]
fn migrations_expand_or_say_from_which_version_on_they_are_safe() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut found = Vec::new();
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let number = name.split_once("__").unwrap().0;
        if number.strip_prefix('V').unwrap().parse::<u32>().unwrap() > BASE {
            found.extend(problems(
                &name,
                &std::fs::read_to_string(file.path()).unwrap(),
            ));
        }
        checked += 1;
    }
    assert!(checked >= BASE);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_contracts_is_told_from_what_expands() {
    for expanding in [
        "CREATE TABLE a (b int NOT NULL); CREATE INDEX c ON a (b);",
        "ALTER TABLE a ADD COLUMN b int NOT NULL DEFAULT 0, ADD COLUMN c text;",
        "ALTER TABLE a ALTER COLUMN b DROP NOT NULL; -- DROP TABLE a\nDROP INDEX c;",
        "GRANT SELECT ON a TO b; INSERT INTO a VALUES (1);",
        "ALTER TABLE a DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (b IN ('x', 'y'))",
    ] {
        assert_eq!(problems("V9__more.sql", expanding), Vec::<String>::new());
    }
    for contracting in [
        "DROP TABLE a",
        "alter table a\n  drop column b",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE a ADD COLUMN b int, ADD COLUMN c int NOT NULL",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
        "ALTER TABLE a ALTER b SET NOT NULL",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)",
        "ALTER TABLE a DROP CONSTRAINT c, ADD CONSTRAINT d CHECK (b > 0)",
    ] {
        assert_eq!(
            problems("V9__more.sql", contracting).len(),
            1,
            "{contracting}"
        );
        assert_eq!(problems("V9__contract_less.sql", contracting).len(), 1);
        let named = problems("V9__contract_0_4_0_less.sql", contracting);
        assert_eq!(named, Vec::<String>::new());
    }
}

/// Does to a database what a later version would have done.
async fn apply(url: &str, number: i32, name: &str, sql: &str) {
    let (client, driver) = Connector::new(url, None).unwrap().connect().await.unwrap();
    let work = async {
        client.batch_execute(sql).await.unwrap();
        let row = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                   VALUES ($1, $2, '2030-01-01T00:00:00Z', '1')";
        client.execute(row, &[&number, &name]).await.unwrap();
    };
    tokio::select! {
        () = work => {}
        ended = driver => panic!("{ended:?}"),
    }
}

/// What a control that does not start says.
async fn refusal(url: &str) -> String {
    let folder = folder();
    let started = Server::start(config(folder.path(), Some(url))).await;
    let error = started.unwrap_err();
    assert!(matches!(error, NotStarted::Database(_)), "{error:?}");
    sortie_control::error::Chain(&error).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn control_starts_and_works_on_a_database_that_a_later_version_expanded() {
    let url = fresh().await;
    let sql = "CREATE TABLE later (id int PRIMARY KEY); \
               ALTER TABLE vaults ADD COLUMN later text NOT NULL DEFAULT 'x'; \
               ALTER TABLE audit_uses ADD COLUMN later int";
    apply(&url, 9_000, "later", sql).await;
    apply(&url, 9_001, "contract_0_1_0_once_there", "SELECT 1").await;
    let control = Control::on(folder(), url).await;
    let owner = control.vault("acme").await;
    let _agent = control.agent(&owner, "runner").await;
    assert_eq!(control.count("vaults WHERE later = 'x'").await, 1);
    // Its successor may be started once more: what was expanded stays.
    let replica = control.replica().await;
    assert_eq!(replica.count("vaults").await, 1);
    replica.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_refuses_a_database_that_was_contracted_past_it() {
    for name in ["contract_999_0_0_less", "contract_less"] {
        let url = fresh().await;
        apply(&url, 9_000, name, "DROP TABLE quarantine").await;
        let said = refusal(&url).await;
        assert!(
            said.contains("this control cannot use the database"),
            "{said}"
        );
        assert!(
            said.contains(name) && said.contains("start a newer one"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_refuses_a_database_with_other_migrations() {
    let url = fresh().await;
    apply(&url, 0, "somebody_elses", "SELECT 1").await;
    let said = refusal(&url).await;
    assert!(said.contains("which this control should know"), "{said}");
    let url = fresh().await;
    let sql = "DELETE FROM refinery_schema_history WHERE version = 1";
    apply(&url, 9_000, "later", sql).await;
    let again = migrate::run(&Connector::new(&url, None).unwrap()).await;
    let said = sortie_control::error::Chain(&again.unwrap_err()).to_string();
    assert!(said.contains("without having had it"), "{said}");
}
