//! What the two ends of the feed tell each other that they understand, beyond what its first version could do.
//!
//! They are exchanged in `Hello` and `Welcome`. Who does not name one is not sent what it stands for, or is known not to
//! act on it.

/// A gateway enforces revocations of users, of parent sessions and of credentials, open connections included.
pub const SUBJECTS: &str = "revocation-subjects";
/// Control takes a gateway's `Report`.
pub const REPORT: &str = "report";

/// A gateway takes vaults as they were encoded once for all.
pub const ENCODED_VAULTS: &str = "encoded-vaults";
/// Control takes a gateway's list of what it could not understand.
pub const QUARANTINE: &str = "quarantine";

/// What this version names, on either side.
pub const ALL: [&str; 4] = [SUBJECTS, REPORT, ENCODED_VAULTS, QUARANTINE];

/// Whether one is among what the other side named.
#[must_use]
pub fn has(named: &[String], capability: &str) -> bool {
    named.iter().any(|one| one == capability)
}
