//! Counters and gauges. One registry, made at the start and passed on; no globals.
//!
//! Labels are bounded: codes, statement names that stand in the source, never a tenant or a gateway.

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// What control counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where all of them are registered; modules that count for themselves register here too.
    pub registry: Registry,
    /// `sortie_control_database_statements_total{statement}`.
    pub statements: IntCounterVec,
    /// `sortie_control_feed_changes_total`: changes that this replica's reader took in.
    pub changes: IntCounter,
    /// `sortie_control_feed_undecodable_total`: changes that mean nothing to this version.
    pub undecodable: IntCounter,
    /// `sortie_control_feed_streams`: gateways that follow this replica.
    pub streams: IntGauge,
    /// `sortie_control_feed_snapshots_total`: vaults sent whole.
    pub snapshots: IntCounter,
    /// `sortie_control_snapshot_queries_total`: queries that read vaults or a tenant whole.
    pub snapshot_queries: IntCounter,
    /// `sortie_control_snapshot_cache_hits_total`: vaults and tenants that were had without a query.
    pub snapshot_hits: IntCounter,
    /// `sortie_control_feed_quarantined`: what gateways on this replica say that they cannot understand.
    pub quarantined: IntGauge,
    /// `sortie_control_feed_witnesses`: gateways that were refused, for they have seen more than the database holds.
    pub witnesses: IntGauge,
    /// `sortie_control_feed_beats_total`: beats committed.
    pub beats: IntCounter,
    /// `sortie_control_vault_releases_total{code}`: subscriptions answered; `ok` or why not.
    pub releases: IntCounterVec,
    /// `sortie_control_journal_records_total{kind}`: records ingested: use, completion, quarantined.
    pub records: IntCounterVec,
    /// `sortie_control_journal_alarms_total{kind}`: records that are missing, or not those that were written.
    pub alarms: IntCounterVec,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Panics
    /// Never: the names are constant, well-formed and distinct.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let vector = |name, help, label| vector(&registry, name, help, label);
        let counter = |name, help| counter(&registry, name, help);
        let gauge = |name, help| gauge(&registry, name, help);
        let (records, alarms) = journal(&registry);
        Self {
            statements: vector(
                "sortie_control_database_statements_total",
                "Statements sent to the database.",
                "statement",
            ),
            changes: counter(
                "sortie_control_feed_changes_total",
                "Changes taken in by this replica.",
            ),
            undecodable: counter(
                "sortie_control_feed_undecodable_total",
                "Changes that mean nothing to this version.",
            ),
            snapshots: counter("sortie_control_feed_snapshots_total", "Vaults sent whole."),
            snapshot_queries: counter(
                "sortie_control_snapshot_queries_total",
                "Queries that read vaults or a tenant whole.",
            ),
            snapshot_hits: counter(
                "sortie_control_snapshot_cache_hits_total",
                "Vaults and tenants that were had without a query.",
            ),
            beats: counter(
                "sortie_control_feed_beats_total",
                "Beats committed to the database.",
            ),
            releases: vector(
                "sortie_control_vault_releases_total",
                "Subscriptions answered, by outcome.",
                "code",
            ),
            records,
            alarms,
            streams: gauge(
                "sortie_control_feed_streams",
                "Gateways that follow this replica.",
            ),
            quarantined: gauge(
                "sortie_control_feed_quarantined",
                "Tenants, vaults and objects that gateways say they cannot understand and refuse.",
            ),
            witnesses: gauge(
                "sortie_control_feed_witnesses",
                "Gateways refused because they have seen a later revision than the database holds.",
            ),
            registry,
        }
    }

    /// The text exposition of all of them.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Encoding fails only for a metric without a name, and none is registered.
        let _encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

/// What is counted of gateways' journals: records, and alarms about them.
fn journal(registry: &Registry) -> (IntCounterVec, IntCounterVec) {
    let records = vector(
        registry,
        "sortie_control_journal_records_total",
        "Journal records ingested, by kind.",
        "kind",
    );
    let alarms = vector(
        registry,
        "sortie_control_journal_alarms_total",
        "Alarms about records that are missing, or are not those that a gateway wrote, by kind.",
        "kind",
    );
    (records, alarms)
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry
        .register(Box::new(metric.clone()))
        .expect("the names are distinct");
    metric
}

fn vector(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    let made = IntCounterVec::new(Opts::new(name, help), &[label]);
    register(registry, made.expect("a constant, well-formed name"))
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let made = IntCounter::new(name, help);
    register(registry, made.expect("a constant, well-formed name"))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let made = IntGauge::new(name, help);
    register(registry, made.expect("a constant, well-formed name"))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
