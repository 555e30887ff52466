//! Which sessions a new one came from.
//!
//! A token carries all of them, so that a gateway refuses what came from a revoked one without asking anybody. **Order
//! matters:** the generation that new tokens carry is read before the parents are looked at. A revocation that comes in
//! between then covers what is minted, by a higher generation; one that came before is seen here.

use std::collections::HashMap;

use sortie_proto::id::{AgentId, SessionId};
use sortie_proto::token::{Claims, LINEAGE_MAX};
use uuid::Uuid;

use super::fields::Problems;
use super::mint::Wanted;
use crate::access::{Authorized, Sessions};
use crate::database::Transaction;
use crate::database::sessions::{self as rows, SessionRow};
use crate::error::Result;

/// Reads the session that one is to come from; empty is none.
pub(super) fn parent(text: &str) -> Result<Option<SessionId>, &'static str> {
    let is_some = !text.is_empty();
    let parsed = is_some.then(|| text.parse()).transpose();
    parsed.or(Err("must be a session's id"))
}

/// Puts the parents that are wanted into claims, with what those came from and the user that they are for.
///
/// # Errors
/// As the database's; what is wrong with a parent is added to the problems.
pub(super) async fn extend(
    tx: &Transaction,
    by: &Authorized<Sessions>,
    problems: &mut Problems,
    (wanted, claims): (&[Wanted], &mut [Claims]),
) -> Result<()> {
    let mut ids: Vec<Uuid> = wanted
        .iter()
        .filter_map(|wanted| Some(wanted.parent?.uuid()))
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    ids.sort_unstable();
    ids.dedup();
    let found = rows::current(tx, by.tenant(), &ids).await?;
    let found: HashMap<SessionId, SessionRow> =
        found.into_iter().map(|row| (row.id, row)).collect();
    for (wanted, claims) in wanted.iter().zip(claims) {
        let Some(parent) = wanted.parent else {
            continue;
        };
        let at = format!("{}parent", wanted.at);
        match found.get(&parent).filter(|row| sees(by.agent(), row)) {
            None => problems.add(at, "is no session of yours that goes on"),
            Some(row) => {
                if let Err(message) = descend(row, claims) {
                    problems.add(at, message);
                }
            }
        }
    }
    Ok(())
}

/// Whether a caller may name a session: for an agent, its own.
fn sees(agent: Option<AgentId>, row: &SessionRow) -> bool {
    agent.is_none_or(|agent| agent == row.agent)
}

fn descend(parent: &SessionRow, claims: &mut Claims) -> Result<(), &'static str> {
    if claims.user.is_some() && claims.user != parent.user {
        return Err("is for another user than the session that is asked for");
    }
    claims.user.clone_from(&parent.user);
    claims.parent = Some(parent.id);
    claims.ancestors = parent
        .parent
        .into_iter()
        .chain(parent.ancestors.iter().copied())
        .collect();
    if claims.lineage().count() > LINEAGE_MAX {
        return Err("has come from seven others already: a session comes from 8 at most");
    }
    Ok(())
}
