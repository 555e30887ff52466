//! The chain over a node's records: each head is a hash of the head before it and of one record.
//!
//! Who holds a later head can tell that every record up to it is the one that was written, in its place. The gateway
//! keeps the head of each lane in memory as it appends; control computes it again from what arrives. A lane's first
//! head names its boot and itself, so that one lane's records cannot stand in for another's.

use sha2::{Digest, Sha256};

use crate::id::BootId;

/// What the first head of every lane begins with.
const DOMAIN: &[u8] = b"sortie journal 1\0";

/// The head of a chain: SHA-256 over all that stands before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head([u8; Self::LEN]);

impl Head {
    /// The length of a head, in bytes.
    pub const LEN: usize = 32;

    /// The head of a lane that has no records yet.
    #[must_use]
    pub fn of_lane(boot: BootId, lane: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(boot.uuid().as_bytes());
        hash.update(lane.to_le_bytes());
        Self(hash.finalize().into())
    }

    /// The head behind one more record. A head has a fixed length, so that no two pairs hash the same bytes.
    #[must_use]
    pub fn then(&self, record: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(record);
        Self(hash.finalize().into())
    }

    /// Reads a head.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Enough to tell two apart in a log.
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_order_content_lane_and_boundaries_apart() {
        let boot = BootId::generate();
        let start = Head::of_lane(boot, 0);
        let ab = start.then(b"a").then(b"b");
        assert_eq!(ab, Head::of_lane(boot, 0).then(b"a").then(b"b"));
        assert_ne!(ab, start.then(b"b").then(b"a"));
        assert_ne!(ab, start.then(b"ab"));
        assert_ne!(ab, start.then(b"a").then(b"b").then(b""));
        assert_ne!(start, Head::of_lane(boot, 1));
        assert_ne!(start, Head::of_lane(BootId::generate(), 0));
        assert_eq!(Head::from_bytes(ab.as_bytes()), Some(ab));
        assert_eq!(Head::from_bytes(b"short"), None);
    }
}
