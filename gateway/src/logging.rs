//! What the process logs, and what it never does.
//!
//! Pingora logs whole heads, injected credentials included, at DEBUG, and malformed upstream heads at ERROR. So nothing
//! below WARN of the libraries on the data path gets through, whatever the configured filter says, and of Pingora's own
//! lines only where they come from, never their text.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Log;

/// Crates that see heads: their lines below WARN never pass.
const SEE_HEADS: [&str; 7] = [
    "pingora", "h2", "hyper", "tonic", "rustls", "boring", "httparse",
];

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log.level is not a filter")]
    Filter(#[from] ParseError),
    /// Something else logs already.
    #[error("logging was started before")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// The bridge from `log` was made already.
    #[error("the bridge from log was made before")]
    Bridge(#[from] tracing_log::log_tracer::SetLoggerError),
}

/// Starts logging, to standard error.
///
/// # Errors
/// [`Error`]
pub fn start(config: &Log) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.level)?;
    // The bridge drops what no filter can want before it is formatted.
    tracing_log::LogTracer::builder()
        .with_max_level(log::LevelFilter::Warn)
        .init()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    if config.json {
        let lines = lines
            .json()
            .flatten_event(true)
            .with_filter(Careful(filter));
        tracing::subscriber::set_global_default(registry.with(lines).with(Pingora))?;
    } else {
        let lines = lines.with_filter(Careful(filter));
        tracing::subscriber::set_global_default(registry.with(lines).with(Pingora))?;
    }
    Ok(())
}

/// The configured filter, without what must never pass.
struct Careful(EnvFilter);

fn is_from(target: &str, crates: &[&str]) -> bool {
    crates.iter().any(|name| target.starts_with(name))
}

/// Whether a line may pass, by where it comes from alone.
fn may_pass(target: &str, level: Level) -> bool {
    // What comes over the bridge from `log` has a target that does not say whose it is until it is formatted.
    if target == "log" || is_from(target, &["pingora"]) {
        return false;
    }
    level <= Level::WARN || !is_from(target, &SEE_HEADS)
}

impl<S> Filter<S> for Careful
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        may_pass(metadata.target(), *metadata.level())
            && Filter::<S>::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if may_pass(metadata.target(), *metadata.level()) {
            Filter::<S>::callsite_enabled(&self.0, metadata)
        } else {
            tracing::subscriber::Interest::never()
        }
    }
}

/// Says that a library of the data path had something to say, and where, without its words.
struct Pingora;

/// Finds the module that a line over the bridge came from.
#[derive(Default)]
struct Origin(Option<String>);

impl Visit for Origin {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

impl<S: Subscriber> Layer<S> for Pingora {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "log" {
            return;
        }
        let mut origin = Origin::default();
        event.record(&mut origin);
        let module = origin.0.unwrap_or_default();
        match *event.metadata().level() {
            Level::ERROR => tracing::error!(
                module,
                "a library reported an error; its words are withheld"
            ),
            Level::WARN => tracing::warn!(
                module,
                "a library reported a warning; its words are withheld"
            ),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
