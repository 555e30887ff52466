//! What can be done: one file a noun, one function a verb, for REST and gRPC alike.
//!
//! **Invariants.** A command takes a proof of access. It reports all problems of its input at once. What it changes is
//! one transaction: rows, the change that gateways see, and the act in the audit log. A credential's value goes in and
//! never comes out: no function here answers with one.
//!
//! Minting a session is the exception to "publishes a change": gateways verify tokens offline, and nobody is told.

pub mod tenants;
pub mod vaults;
pub mod credentials;
pub mod services;
pub mod agents;
pub mod grants;
pub mod sessions;
pub mod revoke;
pub mod api_keys;
pub mod gateways;
pub mod alarms;
pub mod audit;
mod environment;
mod fields;
mod lineage;
mod mint;
mod page;
mod require;
mod reveal;
mod spec;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sortie_proto::code::Code;
use sortie_proto::id::{AgentId, SessionId, TenantId, VaultId};
use sortie_proto::revision::Revision;
use sortie_proto::vault::Vault;

use crate::access::{Actor, Authorized};
use crate::database::acts::{self, Act};
use crate::database::{Database, Reference, Transaction, vaults as rows};
use crate::error::{Error, Result};
use crate::feed::sequence::Sequencer;
use crate::fleet::Fleet;
use crate::seal::Keys;

pub use self::environment::AgentSide;
pub use self::wait::Wait;

/// What commands work with. Cloning it is cheap: all parts are handles.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub database: Database,
    /// Puts committed changes in order.
    pub sequencer: Sequencer,
    /// The key hierarchy.
    pub keys: Keys,
    /// The gateways.
    pub fleet: Fleet,
    /// What agents find around them.
    pub agents: Arc<AgentSide>,
}

/// The longest that a session may last.
pub const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The shortest that a session may last.
pub const TTL_MIN: Duration = Duration::from_secs(60);
/// How long a session lasts that does not say.
pub const TTL_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// A token that was being minted or renewed while it was revoked ends this much later than it should, at most.
const MINT_SLACK_SECONDS: i64 = 60 * 60;

impl Context {
    /// Commits a change and waits until it has its place in the order.
    async fn publish(&self, tx: Transaction) -> Result<Revision> {
        tx.commit().await?;
        self.sequencer.committed().await
    }

    /// Commits a change whose place in the order the caller is not told. If it cannot be had right now, the change is
    /// committed all the same, and the next round of sequencing finds it.
    async fn settle(&self, tx: Transaction) -> Result<()> {
        tx.commit().await?;
        if let Err(error) = self.sequencer.committed().await {
            error.log("sequencing");
        }
        Ok(())
    }
}

/// An act, before it is known who did it.
#[derive(Debug, Default)]
struct Draft {
    action: &'static str,
    subject: String,
    vault: Option<VaultId>,
    session: Option<SessionId>,
    agent: Option<AgentId>,
    detail: serde_json::Value,
}

/// Records an act, in the transaction that does it.
async fn record(
    tx: &Transaction,
    tenant: Option<TenantId>,
    actor: &Actor,
    draft: Draft,
) -> Result<()> {
    let nothing = draft.detail.is_null();
    let detail = if nothing {
        serde_json::json!({})
    } else {
        draft.detail
    };
    let act = Act {
        tenant,
        actor: actor.text(),
        action: draft.action,
        subject: draft.subject,
        vault: draft.vault,
        session: draft.session,
        agent: draft.agent,
        detail,
    };
    acts::insert(tx, &act).await
}

/// Records an act in the tenant that it was authorized for.
async fn record_in<A>(tx: &Transaction, by: &Authorized<A>, draft: Draft) -> Result<()> {
    record(tx, Some(by.tenant()), by.actor(), draft).await
}

const fn not_found() -> Error {
    Error::new(Code::NotFound)
}

/// How many bytes a vault's services and credentials may have together: a gateway gets them in one message.
const VAULT_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Refuses what made a vault too large. The vault is locked, and what was written is rolled back.
async fn check_size<A>(tx: &Transaction, by: &Authorized<A>, vault: VaultId) -> Result<()> {
    if rows::size(tx, (by.tenant(), vault)).await? > VAULT_BYTES_MAX {
        let why = "The vault's services and credentials have more than 16 MiB together.";
        return Err(Error::new(Code::ResourceExhausted).because(why));
    }
    Ok(())
}

/// When the last token has ended that a revocation of now can cover. It is not read from the sessions: one that is
/// being minted beside it would be missed.
fn last_token_ends() -> i64 {
    let longest = i64::try_from(TTL_MAX.as_secs()).unwrap_or(i64::MAX);
    Timestamp::now()
        .as_second()
        .saturating_add(longest)
        .saturating_add(MINT_SLACK_SECONDS)
}

/// The vault that a path names.
async fn vault_of<A>(tx: &Transaction, by: &Authorized<A>, vault: &str) -> Result<Vault> {
    let reference = Reference::read(vault, VaultId::uuid);
    let row = rows::get(tx, by.tenant(), reference).await?;
    row.map(|row| row.vault).ok_or_else(not_found)
}

/// The vault that a path names, locked.
async fn lock_vault<A>(tx: &Transaction, by: &Authorized<A>, vault: &str) -> Result<Vault> {
    let reference = Reference::read(vault, VaultId::uuid);
    let row = rows::lock(tx, by.tenant(), reference).await?;
    row.map(|row| row.vault).ok_or_else(not_found)
}
