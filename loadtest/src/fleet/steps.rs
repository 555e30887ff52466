//! What is done to a fleet that follows, and how long it takes.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::Value;
use sortie_proto::revision::Revision;
use tokio::time::Instant;

use super::board::Board;
use super::spread::Spread;
use super::vaults::{Vaults, credential};
use super::{Options, SYNC};
use crate::bench::report::say;
use crate::cluster::{Cluster, Tenant};
use crate::report::{Figure, Outcome};

/// How long a change may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a revocation waits for the gateways.
const WAIT_SECONDS: u32 = 20;
/// What control counts when it reads state from its database to send it whole.
const QUERIES: &str = "sortie_control_snapshot_queries_total";

/// A fleet that follows.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    pub(super) board: &'a Board,
    pub(super) vaults: &'a Vaults,
    /// How many gateways hold a vault.
    pub(super) copies: usize,
}

impl Steps<'_> {
    /// All of it, one after another.
    pub(super) async fn all(
        &self,
        options: &Options,
        cluster: &mut Cluster,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let tenant = cluster.tenant(0)?;
        self.revoke(tenant, options.revocations, outcome).await?;
        self.change(tenant, options.changes, outcome).await?;
        for _ in 0..options.restarts {
            self.restart(cluster, outcome).await?;
        }
        Ok(())
    }

    /// Revokes sessions that all nodes must refuse.
    async fn revoke(&self, tenant: &Tenant, times: usize, outcome: &mut Outcome) -> Result<()> {
        say(&format!("revoking {times} sessions"));
        let mut known = Spread::new()?;
        let mut nodes = Spread::new()?;
        let sessions = tenant.mint(times).await?;
        let mut gateways = 0;
        for session in &sessions {
            self.board.forget();
            let called = Instant::now();
            let answer = tenant.revoke(session.id(), WAIT_SECONDS).await?;
            known.add(called.elapsed());
            let count = |name: &str| {
                let found = answer.pointer(&format!("/enforcement/{name}"));
                found.and_then(Value::as_u64).unwrap_or_default()
            };
            gateways = usize::try_from(count("gateways"))?;
            ensure!(
                count("enforced") == count("gateways") && gateways > 0,
                "not enforced everywhere: {answer}"
            );
            let revision = revision(&answer)?;
            let times = self.board.arrived(revision, gateways, PATIENCE).await?;
            for at in times {
                nodes.add(at.duration_since(called));
            }
        }
        let title = format!("revocation, call to all of {gateways} simulated gateways, p99");
        let figure = Figure::new(title, known.at(99.0), "ms").at_most(1000.0);
        outcome.figures.push(figure);
        let mut table = Spread::table();
        table
            .rows
            .push(known.row("until control says: enforced on all"));
        table
            .rows
            .push(nodes.row("until a node has it, by its own clock"));
        outcome.tables.push(table);
        Ok(())
    }

    /// Changes credentials, each in one vault.
    async fn change(&self, tenant: &Tenant, times: usize, outcome: &mut Outcome) -> Result<()> {
        let vaults = self.vaults.own();
        if vaults.is_empty() {
            return Ok(());
        }
        say(&format!("changing {times} credentials"));
        let mut arrived = Spread::new()?;
        // Spread over all vaults, so that most were never changed before.
        let step = (vaults.len() / times.max(1)).max(1);
        for (number, vault) in vaults.iter().step_by(step).take(times).enumerate() {
            self.board.forget();
            let path = format!("/v1/tenants/-/vaults/{}/credentials/API_KEY", vault.name());
            // A value that no vault has: what was there is rotated.
            let body = credential(vaults.len() + number);
            let called = Instant::now();
            tenant.owner().call(Method::PUT, &path, &body).await?;
            // Nothing else changes meanwhile: the next that comes is this one.
            let first = Revision::default();
            let all = self.board.arrived(first, self.copies, PATIENCE);
            for at in all.await? {
                arrived.add(at.duration_since(called));
            }
        }
        let figure = Figure::new(
            "a change, call to its gateways, p99",
            arrived.at(99.0),
            "ms",
        );
        outcome.figures.push(figure.at_most(250.0));
        let mut table = Spread::table();
        table
            .rows
            .push(arrived.row("until a change is at a gateway that holds its vault"));
        outcome.tables.push(table);
        Ok(())
    }

    /// Stops the first control and starts it again.
    async fn restart(&self, cluster: &mut Cluster, outcome: &mut Outcome) -> Result<()> {
        say("restarting control");
        let control = cluster.control_mut(0)?;
        control.stop().await;
        let started = Instant::now();
        control.restart().await?;
        let ready = started.elapsed();
        let synced = self.board.all_synced(started, SYNC).await?;
        let queries = control.metric(QUERIES).await?;
        say(&format!(
            "all synced after {:.1} s, {queries} queries",
            synced.as_secs_f64()
        ));
        let title = "control restart, from its start until all gateways have all of their state";
        let synced = Figure::new(title, synced.as_secs_f64(), "s");
        let title = "control restart, database queries for snapshots";
        let queries = Figure::new(title, queries, "");
        // The bars are for a state that all gateways share: of vaults each is read once at least.
        let shared = self.vaults.own().is_empty();
        outcome.figures.extend(if shared {
            [synced.at_most(30.0), queries.at_most(10.0)]
        } else {
            [synced, queries]
        });
        outcome.notes.push(format!(
            "Control was ready {:.1} s after it was started, its private database included.",
            ready.as_secs_f64()
        ));
        Ok(())
    }
}

/// The revision in an answer, as control writes it.
fn revision(answer: &Value) -> Result<Revision> {
    let text = answer.get("revision").and_then(Value::as_str);
    let text = text.context("no revision")?;
    Revision::from_str(text).map_err(|_none| anyhow::anyhow!("{text} is no revision"))
}
