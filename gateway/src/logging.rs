//! What the process logs, and what it never does.
//!
//! Pingora logs whole heads, injected credentials included, at DEBUG, and malformed upstream heads at ERROR. So nothing
//! below WARN of the libraries on the data path gets through, whatever the configured filter says, and of Pingora's own
//! lines only where they come from, never their text.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata, Subscriber};
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
    /// Something else takes what libraries say already.
    #[error("a logger was set before")]
    Logger(#[from] log::SetLoggerError),
}

/// Starts logging, to standard error.
///
/// # Errors
/// [`Error`]
pub fn start(config: &Log) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.level)?;
    log::set_logger(&Withheld)?;
    log::set_max_level(log::LevelFilter::Warn);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    if config.json {
        let lines = lines
            .json()
            .flatten_event(true)
            .with_filter(Careful(filter));
        tracing::subscriber::set_global_default(registry.with(lines))?;
    } else {
        let lines = lines.with_filter(Careful(filter));
        tracing::subscriber::set_global_default(registry.with(lines))?;
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
    !is_from(target, &["pingora"]) && (level <= Level::WARN || !is_from(target, &SEE_HEADS))
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

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        // With it, what libraries trace at every step of a request costs one comparison.
        Filter::<S>::max_level_hint(&self.0)
    }
}

/// Takes what libraries say through `log`, Pingora's among them, and passes on that they said something, and where, but
/// never their words: those may hold a head.
#[derive(Debug)]
struct Withheld;

impl log::Log for Withheld {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        let module = record.target();
        match record.level() {
            log::Level::Error => {
                tracing::error!(
                    module,
                    "a library reported an error; its words are withheld"
                );
            }
            log::Level::Warn => {
                tracing::warn!(
                    module,
                    "a library reported a warning; its words are withheld"
                );
            }
            log::Level::Info | log::Level::Debug | log::Level::Trace => {}
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests;
