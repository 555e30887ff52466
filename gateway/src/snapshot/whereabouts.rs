//! Where control is: what no request may dial, whatever a tenant allows.
//!
//! **Invariants.** An address is known before this node connects to it: nothing is served before the first connection, so
//! that nothing is served without knowing where control is. Addresses that its name stood for lately are still control's,
//! since a name may stand for several in turn.
//!
//! Not here: control's other ports. This node does not know them; `upstream.deny` is for them.

use std::io;
use std::net::SocketAddr;

use arc_swap::ArcSwap;

/// The most addresses that are remembered; the oldest are forgotten.
const KNOWN_MAX: usize = 32;

/// The addresses of control's feed.
#[derive(Debug)]
pub struct Whereabouts {
    /// `host:port`, as in the join string.
    control: String,
    /// The newest first.
    known: ArcSwap<Vec<SocketAddr>>,
}

impl Whereabouts {
    /// Takes `host:port`. An address is known at once, a name after [`look_up`](Self::look_up).
    #[must_use]
    pub fn new(control: String) -> Self {
        let known = control.parse().ok().map(canonical).into_iter().collect();
        Self {
            control,
            known: ArcSwap::from_pointee(known),
        }
    }

    /// `host:port`, as in the join string.
    #[must_use]
    pub fn control(&self) -> &str {
        &self.control
    }

    /// Resolves the name, and remembers what it stands for.
    ///
    /// # Errors
    /// When it stands for nothing, or the system cannot say.
    pub async fn look_up(&self) -> io::Result<()> {
        let found: Vec<_> = tokio::net::lookup_host(&self.control)
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
            let whereabouts = Whereabouts::new(control.to_owned());
            assert_eq!(**whereabouts.known(), [at("127.0.0.1:7301")]);
        }
        let whereabouts = Whereabouts::new("localhost:7301".to_owned());
        assert!(whereabouts.known().is_empty());
        whereabouts.look_up().await.unwrap();
        let known = whereabouts.known();
        assert!(!known.is_empty());
        assert!(known.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn where_control_was_lately_is_remembered_and_bounded() {
        let whereabouts = Whereabouts::new("10.0.0.1:1".to_owned());
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
