//! The position of a change in the total order of changes.

use std::fmt;
use std::str::FromStr;

/// A position in the total order of changes: an epoch, and a dense number within it.
///
/// The epoch rises when a backup is restored or a primary is replaced by one that may be behind, so that a gateway
/// never takes old state for new. In text: `3.1042`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Rises on restore; the higher epoch always wins.
    pub epoch: u64,
    /// Dense within an epoch: a reader asks for the last plus one and accepts nothing else.
    pub n: u64,
}

impl Revision {
    /// The revision that must come right behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            epoch: self.epoch,
            n: self.n.saturating_add(1),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

/// A text that is not `epoch.n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a revision of the form epoch.number")]
pub struct InvalidRevision(());

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let (epoch, n) = text.split_once('.').ok_or(InvalidRevision(()))?;
        let number = |digits: &str| digits.parse().map_err(|_not_a_number| InvalidRevision(()));
        Ok(Self {
            epoch: number(epoch)?,
            n: number(n)?,
        })
    }
}
