//! A tunnel that is passed on untouched: bytes, both ways, until both ends have ended or the tunnel is cut.
//!
//! A silent tunnel may be a long poll: it is left alone for as long as TCP keeps it and its session holds. Once one side
//! has ended, the other may not be silent for long: an agent that has gone looks like one that has only finished
//! sending.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Passage;
use super::transport::Tunnel;
use super::tunnels::Registered;

/// Bytes that each direction holds at most.
const BUFFER_BYTES: usize = 8 * 1024;

/// Passes bytes on, both ways. `silence` is how long nothing may come from one side once the other has ended.
pub async fn relay(
    mut tunnel: Box<Tunnel>,
    passage: Passage,
    registered: &Registered,
    silence: Duration,
) {
    let Passage {
        mut upstream,
        record,
        vault: _,
    } = passage;
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let (from_agent, to_agent) = tokio::io::split(&mut *tunnel);
    let (from_upstream, to_upstream) = upstream.split();
    let passing = async {
        let mut up = pin!(pass(from_agent, to_upstream, &sent));
        let mut down = pin!(pass(from_upstream, to_agent, &received));
        tokio::select! {
            ended = &mut up => if ended.is_ok() {
                rest(down, &received, silence).await;
            },
            ended = &mut down => if ended.is_ok() {
                rest(up, &sent, silence).await;
            },
        }
    };
    tokio::select! {
        biased;
        // The socket was cut too, but an upstream that is silent would not learn of it.
        () = registered.cut() => {}
        () = passing => {}
    }
    let count = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
    record.passed(count(&sent), count(&received));
}

/// Passes one direction on until it ends, and ends it on the other side.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default())
            .await?;
        to.flush().await?;
        let _before = passed.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Lets the second direction go on for as long as something moves.
async fn rest(
    mut direction: std::pin::Pin<&mut impl Future<Output = std::io::Result<()>>>,
    passed: &AtomicU64,
    silence: Duration,
) {
    loop {
        let before = passed.load(Ordering::Relaxed);
        let ended = tokio::time::timeout(silence, &mut direction).await;
        if ended.is_ok() || passed.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
