//! Where control is: which replica to speak with, and what no request may dial, whatever a tenant allows.
//!
//! **Invariants.** An address is known before this node connects to it: nothing is served before the first connection, so
//! that nothing is served without knowing where control is. Addresses that its names stood for lately are still
//! control's, since a name may stand for several in turn.
//!
//! Not here: control's other ports. This node does not know them; `upstream.deny` is for them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;

/// How long the names of the replicas may take whose turn it is not.
const OTHERS: Duration = Duration::from_secs(1);
/// The most addresses that are remembered; the oldest are forgotten.
const KNOWN_MAX: usize = 32;

/// The addresses of control's feed.
#[derive(Debug)]
pub struct Whereabouts {
    /// `host:port` of each replica, as in the join string or the configuration; at least one.
    controls: Vec<String>,
    /// How often the node has turned from one to the next.
    turns: AtomicUsize,
    /// The newest first.
    known: ArcSwap<Vec<SocketAddr>>,
}

impl Whereabouts {
    /// Takes `host:port`, and those of more replicas. An address is known at once, a name after
    /// [`look_up`](Self::look_up).
    #[must_use]
    pub fn new(control: String, more: impl IntoIterator<Item = String>) -> Self {
        let controls: Vec<_> = std::iter::once(control).chain(more).collect();
        let addresses = controls.iter().filter_map(|control| control.parse().ok());
        let known = addresses.map(canonical).collect();
        Self {
            controls,
            turns: AtomicUsize::new(0),
            known: ArcSwap::from_pointee(known),
        }
    }

    /// `host:port` of the replica whose turn it is.
    #[must_use]
    pub fn control(&self) -> &str {
        let turns = self.turns.load(Ordering::Relaxed);
        let at = turns.checked_rem(self.controls.len()).unwrap_or_default();
        self.controls.get(at).map_or("", String::as_str)
    }

    /// Turns to the next replica: this one does not answer, or ends what it began.
    pub fn turn(&self) {
        let _before = self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves the names of all replicas, and remembers what they stand for.
    ///
    /// # Errors
    /// When the name of the one whose turn it is stands for nothing, or the system cannot say. The others have their
    /// turn.
    pub async fn look_up(&self) -> io::Result<()> {
        let now = self.control();
        self.look_up_one(now).await?;
        let others = self.controls.iter().filter(|control| *control != now);
        let others = join_all(others.map(|control| self.look_up_one(control)));
        // One name that nobody resolves must not keep this node from a replica that answers.
        let _later = tokio::time::timeout(OTHERS, others).await;
        Ok(())
    }

    async fn look_up_one(&self, control: &str) -> io::Result<()> {
        let found: Vec<_> = tokio::net::lookup_host(control)
            .await?
            .map(canonical)
            .collect();
        if found.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.remember(&found);
        Ok(())
    }

    fn remember(&self, found: &[SocketAddr]) {
        self.known.rcu(|known| {
            let older = known.iter().filter(|address| !found.contains(address));
            let all = found.iter().chain(older).copied();
            all.take(KNOWN_MAX).collect::<Vec<_>>()
        });
    }

    /// The addresses, with their port; an IPv4 address is never written as an IPv6 one.
    #[must_use]
    pub fn known(&self) -> impl std::ops::Deref<Target = std::sync::Arc<Vec<SocketAddr>>> + use<> {
        self.known.load()
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn where_control_is_was_looked_up() {
        for control in ["127.0.0.1:7301", "[::ffff:127.0.0.1]:7301"] {
            let whereabouts = Whereabouts::new(control.to_owned(), []);
            assert_eq!(**whereabouts.known(), [at("127.0.0.1:7301")]);
        }
        let whereabouts = Whereabouts::new("localhost:7301".to_owned(), []);
        assert!(whereabouts.known().is_empty());
        whereabouts.look_up().await.unwrap();
        let known = whereabouts.known();
        assert!(!known.is_empty());
        assert!(known.iter().all(|address| address.ip().is_loopback()));
    }

    #[tokio::test]
    async fn replicas_take_turns_and_all_of_them_are_known() {
        let more = ["10.0.0.2:7301", "localhost:7302"].map(str::to_owned);
        let whereabouts = Whereabouts::new("10.0.0.1:7301".to_owned(), more);
        assert_eq!(
            **whereabouts.known(),
            ["10.0.0.1:7301", "10.0.0.2:7301"].map(at)
        );
        whereabouts.look_up().await.unwrap();
        assert!(whereabouts.known().contains(&at("127.0.0.1:7302")));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(whereabouts.control().to_owned());
            whereabouts.turn();
        }
        assert_eq!(
            seen,
            [
                "10.0.0.1:7301",
                "10.0.0.2:7301",
                "localhost:7302",
                "10.0.0.1:7301"
            ]
        );
    }

    #[test]
    fn where_control_was_lately_is_remembered_and_bounded() {
        let whereabouts = Whereabouts::new("10.0.0.1:1".to_owned(), []);
        whereabouts.remember(&[at("10.0.0.2:1"), at("10.0.0.3:1")]);
        whereabouts.remember(&[at("10.0.0.3:1")]);
        let expect = ["10.0.0.3:1", "10.0.0.2:1", "10.0.0.1:1"].map(at);
        assert_eq!(**whereabouts.known(), expect);
        for i in 0..100 {
            whereabouts.remember(&[SocketAddr::from(([10, 0, 1, i], 1))]);
        }
        assert_eq!(whereabouts.known().len(), KNOWN_MAX);
        assert_eq!(whereabouts.known().first(), Some(&at("10.0.1.99:1")));
    }
}
