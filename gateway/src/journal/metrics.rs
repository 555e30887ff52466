//! What the journal says about itself.

use prometheus::{Gauge, IntCounter, IntGauge, Opts, Registry};

/// The journal's metrics.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) bytes: IntGauge,
    pub(super) records: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) unrecorded: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) syncs: IntCounter,
    pub(super) sync_failures: IntCounter,
    pub(super) unshipped: IntGauge,
    pub(super) lag: Gauge,
    pub(super) damaged: IntCounter,
    pub(super) torn: IntCounter,
}

impl Metrics {
    /// Registers them.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let lag = Gauge::new(
            "sortie_gateway_journal_ship_lag_seconds",
            "Age of the oldest record that control has not acknowledged.",
        )?;
        registry.register(Box::new(lag.clone()))?;
        Ok(Self {
            bytes: gauge(
                "sortie_gateway_journal_bytes",
                "Bytes that segments take on disk.",
            )?,
            records: counter("sortie_gateway_journal_records_total", "Records appended.")?,
            refused: counter(
                "sortie_gateway_journal_refused_total",
                "Uses refused because they could not be recorded.",
            )?,
            unrecorded: counter(
                "sortie_gateway_journal_unrecorded_tunnels_total",
                "Tunnels passed on untouched that could not be recorded.",
            )?,
            lost: counter(
                "sortie_gateway_journal_completions_lost_total",
                "Completions that found neither room in the queue nor in the journal.",
            )?,
            syncs: counter(
                "sortie_gateway_journal_syncs_total",
                "Syncs to disk, each of all that was written since the one before.",
            )?,
            sync_failures: counter(
                "sortie_gateway_journal_sync_failures_total",
                "Syncs to disk that failed.",
            )?,
            unshipped: gauge(
                "sortie_gateway_journal_unshipped_records",
                "Records of this boot that control has not acknowledged.",
            )?,
            lag,
            torn: counter(
                "sortie_gateway_journal_torn_boots_total",
                "Dead boots whose records ended in bytes that are none: the last of them are lost.",
            )?,
            damaged: counter(
                "sortie_gateway_journal_damaged_folders_total",
                "Folders of dead boots set aside because records in them cannot be read.",
            )?,
        })
    }
}
