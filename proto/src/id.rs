//! Typed identifiers.
//!
//! Each is a UUID version 7 (RFC 9562) with its own type, so that two kinds cannot be mixed up. In text a prefix says
//! the kind: `vlt_0192f3c6a1b27c3d8e4f5a6b7c8d9e0f`. On the wire between gateway and control it is the 16 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text or some bytes are not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The prefix is missing or belongs to another kind.
    #[error("not an id that starts with {0}_")]
    Prefix(&'static str),
    /// What follows the prefix is not 32 hexadecimal digits.
    #[error("not 32 hexadecimal digits after {0}_")]
    Digits(&'static str),
    /// The wire form is not 16 bytes.
    #[error("not 16 bytes")]
    Length,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What the text form starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new id. Ids made later sort later.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID, for the database.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, for the wire.
            #[must_use]
            pub fn to_bytes(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }

            /// Reads the wire form.
            ///
            /// # Errors
            /// [`InvalidId::Length`] if it is not 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_not_16| InvalidId::Length)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or(InvalidId::Prefix($prefix))?;
                // `Uuid` also reads hyphens, braces and a URN; an id has one spelling.
                if digits.len() != 32 {
                    return Err(InvalidId::Digits($prefix));
                }
                Uuid::try_parse(digits).map(Self).map_err(|_not_hex| InvalidId::Digits($prefix))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    TenantId = "ten";
    /// A vault of a tenant.
    VaultId = "vlt";
    /// A machine identity of a tenant.
    AgentId = "agt";
    /// A session of an agent.
    SessionId = "ses";
    /// A service of a vault.
    ServiceId = "svc";
    /// A credential of a vault, over all its versions.
    CredentialId = "crd";
    /// An API key of a tenant, or of an operator.
    ApiKeyId = "key";
    /// A gateway node, from its enrolment on.
    GatewayId = "gwy";
    /// One life of a gateway process. The journal is keyed by it.
    BootId = "boo";
    /// A key in the key hierarchy.
    KeyId = "kek";
    /// One decision about one request: what an agent quotes when it asks why.
    DecisionId = "dec";
    /// One administrative act in the audit log.
    ActId = "act";
}

#[cfg(test)]
mod tests;
