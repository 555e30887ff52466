//! Cold tunnels: a connection, a full TLS handshake and one request, over and over, by this crate's own client.
//!
//! Each tunnel of a gateway has a session of its own, that the gateway sees for the first time: it remembers those that
//! it has verified. TLS sessions are not resumed. A general load generator shows one token for all.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::oha::{Outcome, Way};
use super::stand::HOST;
use crate::client;
use crate::fleet::spread::Spread;

/// How many tunnels are under way at once.
const AT_ONCE: usize = 8;
/// Sessions for a second of driving: more than one worker thread takes. A run that has used them all ends early.
const SESSIONS_PER_SECOND: usize = 2_000;

/// A run.
#[derive(Debug)]
pub struct Cold<'a> {
    /// For how long.
    pub seconds: u64,
    /// The upstream's port.
    pub port: u16,
    /// How the proxy is reached.
    pub way: Way<'a>,
    /// Tokens, each for one tunnel; none, if the proxy wants none.
    pub tokens: Option<Vec<String>>,
}

/// How many sessions a run takes at most.
#[must_use]
pub fn sessions(seconds: u64) -> usize {
    usize::try_from(seconds).map_or(usize::MAX, |seconds| seconds * SESSIONS_PER_SECOND)
}

impl Cold<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// When a tunnel is refused, or an answer is not 200.
    pub async fn run(self) -> Result<Outcome> {
        let (Way::Forward { root, .. } | Way::Reverse { root, .. }) = self.way;
        let tls = client::trusting(root, &["http/1.1"])?;
        let begun = Instant::now();
        let end = begun + Duration::from_secs(self.seconds);
        let tokens = self.tokens.map(RefCell::new);
        let lane = Lane {
            way: self.way,
            authority: format!("{HOST}:{}", self.port),
            tls,
            tokens: tokens.as_ref(),
        };
        let lanes = (0..AT_ONCE).map(|_| Box::pin(lane.run(end)));
        let took = try_join_all(lanes).await?.concat();
        let seconds = begun.elapsed().as_secs_f64();
        let mut latencies = Spread::new()?;
        took.iter().for_each(|took| latencies.add(*took));
        ensure!(!took.is_empty(), "no tunnel in {seconds:.0} s");
        Ok(Outcome {
            requests: took.len() as u64,
            requests_per_second: took.len() as f64 / seconds,
            p50_ms: latencies.at(50.0),
            p99_ms: latencies.at(99.0),
        })
    }
}

/// One tunnel after another.
#[derive(Debug)]
struct Lane<'a> {
    way: Way<'a>,
    authority: String,
    tls: Arc<ClientConfig>,
    tokens: Option<&'a RefCell<Vec<String>>>,
}

impl Lane<'_> {
    async fn run(&self, end: Instant) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        while Instant::now() < end {
            let token = self.tokens.map(|tokens| tokens.borrow_mut().pop());
            if token == Some(None) {
                // All are used up.
                break;
            }
            let begun = Instant::now();
            self.once(token.flatten().as_deref()).await?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }

    async fn once(&self, token: Option<&str>) -> Result<()> {
        let stream = match self.way {
            Way::Reverse { address, .. } => client::dial(None, address).await?,
            Way::Forward { address, .. } => {
                let mut stream = client::dial(None, address).await?;
                client::connect(&mut stream, &self.authority, token).await?;
                stream
            }
        };
        let mut stream = client::secure(Arc::clone(&self.tls), HOST, stream).await?;
        let answer = client::get(&mut stream, &self.authority, "/").await?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        Ok(stream.shutdown().await?)
    }
}
