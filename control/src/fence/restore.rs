//! `sortie-control restore --fence`: a backup was restored, and that is meant.
//!
//! **What it does, in one transaction.** The epoch rises above the database's and the fence's: no token of an earlier
//! epoch is accepted by a control or a gateway, whatever it says, so none that was given out or revoked since the backup
//! works. The generation of every tenant rises: no session that the backup holds is renewed, for it may have been
//! revoked since. Each is a line in the tenant's audit log. Without a fence that can be read nobody here knows which
//! epochs were used: then the operator names one, for tokens of one that came again would be good again.
//!
//! What a backup has forgotten beside sessions (keys that were deleted, gateways that were shut out, credentials that
//! were replaced) nobody can know here: the operator is told.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use sortie_proto::revision::Revision;

use super::{Error, Fence};
use crate::database::{Database, changes, cluster};
use crate::error;

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// Where the database was.
    pub was: String,
    /// Up to where the fence had seen it; none if there was no fence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// The epoch that begins.
    pub epoch: u64,
    /// How many tenants' sessions were ended.
    pub tenants: u64,
}

/// Raises the epoch of a database that was restored: to `named`, or else above the database's and the fence's.
///
/// # Errors
/// [`Error`]; `failed_precondition` while a control beats on this database, where there is no cluster, or for an epoch
/// that was used.
pub async fn restore(
    database: &Database,
    fence: Arc<dyn Fence>,
    named: Option<u64>,
) -> Result<Restored, Error> {
    // One that cannot be read is replaced.
    let seen = match fence.read() {
        Err(Error::Malformed(_)) => None,
        read => read?,
    };
    if seen.is_none() && named.is_none() {
        return Err(Error::Missing(fence.place()));
    }
    let tx = database.system().await?;
    cluster::lock(&tx).await?;
    let row = cluster::load(&tx)
        .await?
        .ok_or_else(|| refused("there is no cluster in this database"))?;
    if seen.is_some_and(|mark| mark.cluster != row.id) {
        return Err(Error::OtherCluster(fence.place()));
    }
    if cluster::is_beating(&tx).await? {
        return Err(refused("a control is running on this database: stop every one first").into());
    }
    let was = changes::head(&tx).await?.last;
    let used = seen.map_or(0, |mark| mark.epoch).max(was.epoch);
    let epoch = named.unwrap_or_else(|| used.saturating_add(1));
    if epoch <= used {
        return Err(refused("that epoch was used: name a higher one").into());
    }
    cluster::begin_epoch(&tx, epoch).await?;
    let seen = seen.map(|mark| mark.position().to_string());
    let detail = json!({ "epoch": epoch, "was": was.to_string(), "seen": seen });
    let tenants = cluster::end_sessions(&tx, &detail).await?;
    tx.commit().await?;
    let at = Revision { epoch, n: 0 };
    super::raise(&fence, row.id, at).await?;
    Ok(Restored {
        was: was.to_string(),
        seen,
        epoch,
        tenants,
    })
}

fn refused(why: &'static str) -> error::Error {
    error::Error::new(sortie_proto::code::Code::FailedPrecondition).because(why)
}
