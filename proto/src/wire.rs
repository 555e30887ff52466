//! The generated wire types, and the conversions between them and the types that have meaning.
//!
//! What does not convert is [`Invalid`], with the field that is wrong: an unknown enum value, a pattern that does not
//! parse, an id of the wrong length. Whoever receives it refuses the object; it is never read as "no restriction".

mod change;
mod credential;
mod limits;
mod revocation;
mod sealed;
mod service;
mod tenant;

use std::fmt;

use crate::id::{AgentId, VaultId};
use crate::revision::Revision;

/// The generated types of `sortie.v1`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::allow_attributes,
    reason = "generated; the documentation is in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("sortie.v1");
}

/// A message that does not mean anything. The field is where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or has no meaning here")]
pub struct Invalid(pub &'static str);

type Result<T> = std::result::Result<T, Invalid>;

macro_rules! redacted_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for v1::$name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

// Messages that carry a key, a value or a token. `build.rs` leaves out their Debug.
redacted_debug!(
    CredentialPayload,
    DataKey,
    EncodedVault,
    PutCredentialRequest,
    EnrolRequest,
    SignIntermediateRequest,
    Subscribe,
    CreateTenantResponse,
    JoinTokenView,
    CreateApiKeyResponse,
    CreateAgentResponse,
    MintedSession
);

/// Whether a field says nothing, so that JSON leaves it out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T> {
    field.ok_or(Invalid(name))
}

fn vault_id(bytes: &[u8]) -> Result<VaultId> {
    VaultId::from_bytes(bytes).or(Err(Invalid("vault_id")))
}

fn agent_id(bytes: &[u8]) -> Result<AgentId> {
    AgentId::from_bytes(bytes).or(Err(Invalid("agent_id")))
}

impl From<Revision> for v1::Revision {
    fn from(revision: Revision) -> Self {
        Self {
            epoch: revision.epoch,
            n: revision.n,
        }
    }
}

impl From<v1::Revision> for Revision {
    fn from(revision: v1::Revision) -> Self {
        Self {
            epoch: revision.epoch,
            n: revision.n,
        }
    }
}
