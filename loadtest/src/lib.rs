//! Drives a running Sortie from outside and measures it.
//!
//! [`upstream`] is the other end: a TLS server that records every request and echoes credentials in every way that an
//! answer can carry them. [`mod@bench`] starts all processes, drives them in alternating runs, and compares; it also trains
//! the instrumented gateway of a profile-guided build. [`mod@drive`] is the many-agents generator: it goes through a
//! scenario ([`plan`]) on a [`cluster`]. [`memory`] holds connections that do nothing ([`hold`]), [`fleet`] follows
//! control as many gateways at once, [`revocation`] measures how soon what is revoked is cut, [`workers`] how requests a
//! second grow with threads, and [`with`] lends a cluster to others' load generators. [`audit`] and [`mint`] measure a
//! control alone: journals taken in, sessions minted. What they come to is [`measure`]d and [`report`]ed in one form.
//! Nothing here is part of the product: it speaks to it by HTTP, gRPC and signals only; rows are counted, and copied, in
//! its database.

pub mod upstream;
pub mod client;
pub mod files;
pub mod bench;
pub mod audit;
pub mod mint;
pub mod cluster;
pub mod cpus;
pub mod steady;
pub mod with;
pub mod plan;
pub mod drive;
pub mod hold;
pub mod memory;
pub mod fleet;
pub mod revocation;
pub mod workers;
pub mod measure;
pub mod report;

use anyhow::{Result, bail};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Runs work to its end, with so many threads: on this one alone, if it is one.
fn block_on<T>(threads: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = if threads > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = runtime
        .worker_threads(threads.max(1))
        .enable_all()
        .build()?;
    runtime.block_on(Box::pin(work))
}

/// Work that an interrupt ends, so that what was started is ended in good order behind it.
async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut told = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = told.recv() => bail!("told to end"),
    }
}
