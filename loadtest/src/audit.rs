//! How fast control takes gateways' journals in: `sortie-loadtest audit`.
//!
//! A control alone, on its own PostgreSQL; simulated nodes that enrol, are given a vault, and ship over mutual TLS one
//! batch after another, each when the one before is committed, as gateways do. **An entry is a brokered request**: a use
//! and its completion, two records and two rows. At the end the rows are counted: each entry must be there once.

mod node;

use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::Client;

use self::node::{Node, Subject};
use crate::bench::report::say;
use crate::cluster::{Cluster, Programs, Shape, Tenant, text};
use crate::fleet::enrol;
use crate::fleet::spread::Spread;
use crate::report::{Figure, Outcome, Place};

/// What must be reached, in entries a second.
const BAR: f64 = 20_000.0;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Simulated gateways.
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Requests of a batch; each is two records. A gateway's own batches have up to 1,000 records.
    #[arg(long, default_value_t = 500)]
    requests: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

/// Measures.
///
/// # Errors
/// When control does not start, refuses, or loses an entry; or the bar is missed.
pub fn run(options: &Options) -> Result<()> {
    let shape = Shape::control_alone();
    let measured = options
        .programs
        .within((2, &shape), async |cluster| measure(options, cluster).await);
    measured?.publish(&options.place)
}

fn about(options: &Options) -> String {
    format!(
        "{} simulated nodes ship batches of {} requests (a use and a completion each) for {} s to one control with its \
         PostgreSQL, `fsync` on, all on this machine.",
        options.nodes, options.requests, options.seconds
    )
}

async fn measure(options: &Options, cluster: &Cluster) -> Result<Outcome> {
    let subject = subject(cluster.tenant(0)?).await?;
    say(&format!("{} nodes join", options.nodes));
    let mut nodes = Vec::new();
    for enrolled in enrol::many(cluster.controls(), options.nodes).await? {
        nodes.push(Node::follow(&enrolled, subject.clone()).await?);
    }
    say(&format!("shipping for {} s", options.seconds));
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut shipping = JoinSet::new();
    for node in nodes {
        shipping.spawn(ship(node, options.requests, end));
    }
    let (mut batches, mut millis) = (0_u64, Spread::new()?);
    while let Some(shipped) = shipping.join_next().await {
        for took in shipped?? {
            batches = batches.saturating_add(1);
            millis.add(took);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let entries = batches.saturating_mul(options.requests);
    let (uses, completions) = stored(cluster).await?;
    // Of each kind by itself: a row that is there twice must not make up for one that is not.
    let wrong = uses.abs_diff(entries) + completions.abs_diff(entries);
    let control = cluster.control(0)?;
    let alarms = control
        .api()
        .call(Method::GET, "/v1/alarms?page_size=1000", &Value::Null);
    let alarms = alarms.await?;
    let alarms = alarms.get("alarms").and_then(Value::as_array);
    let alarms = alarms.context("no list of alarms")?.len();
    let rate = entries as f64 / seconds;
    let an_each = control.process()?.cpu()?.as_secs_f64() * 1e6 / entries.max(1) as f64;
    let mut outcome = Outcome::new("audit", &about(options));
    outcome.figures = vec![
        Figure::new("audit entries a second into PostgreSQL", rate, "").at_least(BAR),
        Figure::new("audit rows too few or too many", wrong as f64, "").at_most(0.0),
        Figure::new("alarms about what was shipped", alarms as f64, "").at_most(0.0),
        Figure::new("entries shipped", entries as f64, ""),
        Figure::new("control's CPU an entry", an_each, "µs"),
    ];
    let mut table = Spread::table();
    table.rows.push(millis.row("a batch until committed"));
    outcome.tables.push(table);
    Ok(outcome)
}

/// Ships until the end; answers how long each batch took until it was committed.
async fn ship(mut node: Node, requests: u64, end: Instant) -> Result<Vec<Duration>> {
    let mut shipped = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        node.ship(requests).await?;
        shipped.push(begun.elapsed());
    }
    Ok(shipped)
}

/// How many uses and completions the database holds.
async fn stored(cluster: &Cluster) -> Result<(u64, u64)> {
    let count = async |database: &Client, table: &str| -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {table}");
        let row = database.query_one(&sql, &[]).await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    };
    let counted = cluster.in_database(async |database| {
        let uses = count(database, "audit_uses").await?;
        Ok((uses, count(database, "audit_completions").await?))
    });
    counted.await
}

/// The tenant's objects, and a session of them.
async fn subject(tenant: &Tenant) -> Result<Subject> {
    let owner = tenant.owner();
    let wanted = json!({"agent": "agent", "vaults": ["main"], "ttl_seconds": 86_400});
    let session = owner
        .call(Method::POST, "/v1/tenants/-/sessions", &wanted)
        .await?;
    let get = async |path: &str| -> Result<Value> {
        Ok(serde_json::from_str(
            &owner.text(path, "application/json").await?,
        )?)
    };
    let id = async |path: &str| text(&get(path).await?, "/id");
    let not_an_id = "an id of another form";
    Ok(Subject {
        tenant: id("/v1/tenants/-").await?.parse().ok().context(not_an_id)?,
        vault: id("/v1/tenants/-/vaults/main")
            .await?
            .parse()
            .ok()
            .context(not_an_id)?,
        agent: id("/v1/tenants/-/agents/agent")
            .await?
            .parse()
            .ok()
            .context(not_an_id)?,
        session: text(&session, "/id")?.parse().ok().context(not_an_id)?,
        token: text(&session, "/token")?,
    })
}
