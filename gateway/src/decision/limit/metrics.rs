//! What limits count. Labels are enums: no label names a tenant.

use prometheus::{IntCounterVec, Opts, Registry};

use super::share::Reason;
use crate::error::Exceeded;

/// The limits' metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    refused: IntCounterVec,
    shed: IntCounterVec,
    redis: IntCounterVec,
}

/// What became of a call to Redis.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// It was answered in time.
    Answered,
    /// It failed.
    Failed,
    /// It was not answered in time.
    Late,
    /// None was made, because Redis is left alone for a while.
    Bypassed,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// A name that the registry has already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let opts = Opts::new(format!("sortie_gateway_{name}"), help);
            let metric = IntCounterVec::new(opts, labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            refused: counter(
                "limited_total",
                "Requests refused by a limit",
                &["limit", "unit"],
            )?,
            shed: counter(
                "overload_shed_total",
                "Requests refused on an overloaded node",
                &["reason"],
            )?,
            redis: counter(
                "redis_calls_total",
                "Calls to Redis, by outcome",
                &["outcome"],
            )?,
        })
    }

    pub(super) fn refused(&self, exceeded: Exceeded) {
        let labels = [exceeded.of.name(), exceeded.unit.name()];
        self.refused.with_label_values(&labels).inc();
    }

    pub(super) fn shed(&self, reason: Reason) {
        self.shed.with_label_values(&[reason.name()]).inc();
    }

    pub(super) fn called(&self, outcome: Call) {
        let name = match outcome {
            Call::Answered => "answered",
            Call::Failed => "failed",
            Call::Late => "late",
            Call::Bypassed => "bypassed",
        };
        self.redis.with_label_values(&[name]).inc();
    }
}
