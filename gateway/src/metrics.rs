//! What the client side counts. Labels are codes and enums, never a tenant, a host or a path.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, PullingGauge, Registry,
    Result,
};
use sortie_proto::code::Code;

/// Bounds of durations, in seconds; the largest bucket is a minute.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The client side's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Connections that are open.
    pub connections: IntGauge,
    /// Connections that were accepted.
    pub accepted: IntCounter,
    /// Connections that were dropped at accept because a cap was reached.
    pub shed: IntCounter,
    /// Errors of `accept`, such as no free descriptor.
    pub accept_errors: IntCounter,
    /// Tunnels that were cut by a revocation or the end of a session.
    pub cut: IntCounter,
    /// TLS handshakes with agents that failed.
    pub handshakes_failed: IntCounter,
    /// TLS connections to the proxy itself that were refused, because it has no certificate.
    pub tls_refused: IntCounter,
    /// Leaf certificates that were signed.
    pub leaves_minted: IntCounter,
    /// Requests that were answered by an upstream.
    pub requests: IntCounter,
    /// Refusals and failures, by code.
    pub refusals: IntCounterVec,
    /// Times that an injected value was masked in an answer.
    pub redactions: IntCounter,
    /// Upstream connections whose tag did not fit their pool.
    pub pool_mismatches: IntCounter,
    /// Panics that were caught in a stage.
    pub panics: IntCounter,
    /// From the head of a request to the end of its answer.
    pub request_seconds: Histogram,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name that the registry has already.
    pub fn new(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| {
            register(
                registry,
                IntCounter::new(format!("sortie_gateway_{name}"), help)?,
            )
        };
        Ok(Self {
            connections: register(
                registry,
                IntGauge::new("sortie_gateway_connections", "Connections that are open")?,
            )?,
            accepted: counter("connections_accepted_total", "Connections accepted")?,
            shed: counter("connections_shed_total", "Connections dropped at a cap")?,
            accept_errors: counter("accept_errors_total", "Errors of accept")?,
            cut: counter("tunnels_cut_total", "Tunnels cut by revocation or expiry")?,
            handshakes_failed: counter(
                "handshakes_failed_total",
                "Agent TLS handshakes that failed",
            )?,
            tls_refused: counter(
                "tls_refused_total",
                "TLS connections to a proxy without a certificate",
            )?,
            leaves_minted: counter("leaves_minted_total", "Leaf certificates signed")?,
            requests: counter("requests_total", "Requests answered by an upstream")?,
            refusals: register(
                registry,
                IntCounterVec::new(
                    Opts::new("sortie_gateway_refusals_total", "Refusals and failures"),
                    &["code"],
                )?,
            )?,
            redactions: counter("redactions_total", "Values masked in answers")?,
            pool_mismatches: counter(
                "pool_mismatches_total",
                "Upstream connections of another pool",
            )?,
            panics: counter("panics_total", "Panics caught in a stage")?,
            request_seconds: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new("sortie_gateway_request_seconds", "Duration of requests")
                        .buckets(SECONDS.to_vec()),
                )?,
            )?,
        })
    }

    /// Counts a refusal or a failure.
    pub fn refused(&self, code: Code) {
        self.refusals.with_label_values(&[code.name()]).inc();
    }
}

/// Has allocations of the worker threads counted. Debug builds alone do it: a test holds requests to so many of them.
///
/// # Errors
/// A name that the registry has already.
pub fn count_allocations(registry: &Registry) -> Result<()> {
    let gauge = PullingGauge::new(
        "sortie_gateway_allocations_total",
        "Allocations of worker threads",
        Box::new(|| sortie_sys::allocation::count() as f64),
    )?;
    registry.register(Box::new(gauge))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
