//! Whether the services that a session requires can be used right now. Asked when it is minted, so that a run fails
//! before it starts and not at its first request.
//!
//! **Invariant.** Each problem names the command that mends it. A name from the request is repeated only after it was
//! found to have the form of a service's name.
//! Not here: whether the upstream takes the credential, and whether the credential may be sent there. Its destinations
//! are sealed, and the gateway asks them at every request.

use std::collections::HashSet;

use sortie_proto::code::Code;
use sortie_proto::id::{ServiceId, TenantId, VaultId};
use sortie_proto::service::{Injection, Service};
use sortie_proto::token::Claims;
use uuid::Uuid;

use super::mint::{Split, Wanted};
use crate::database::services::{self, RequiredService};
use crate::database::{Reference, Transaction, credentials};
use crate::error::{Error, Result};

/// The most problems that an answer lists: the sessions of a batch often have the same.
const PROBLEMS_MAX: usize = 100;

/// Checks what each session requires.
///
/// # Errors
/// `requirement_unmet` with everything that keeps a service from being used, or as the database's.
pub(super) async fn check(
    tx: &Transaction,
    tenant: TenantId,
    wanted: &[Wanted],
    claims: &[Claims],
) -> Result<()> {
    let required = wanted.iter().flat_map(|wanted| &wanted.require);
    let required = Split::new(required.map(String::as_str).collect(), |text| {
        Reference::read(text, ServiceId::uuid)
    });
    if required.ids.is_empty() && required.names.is_empty() {
        return Ok(());
    }
    let mut vaults: Vec<Uuid> = claims
        .iter()
        .flat_map(|claims| claims.vaults.iter().map(|vault| vault.id.uuid()))
        .collect();
    vaults.sort_unstable();
    vaults.dedup();
    let found = services::required(tx, tenant, &vaults, (&required.ids, &required.names)).await?;
    let mut names: Vec<_> = found
        .iter()
        .flat_map(|found| needed(&found.service))
        .collect();
    names.sort_unstable();
    names.dedup();
    let held = credentials::held(tx, tenant, &vaults, &names).await?;
    let problems = problems(wanted, claims, &found, &held);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::fields(problems).with_code(Code::RequirementUnmet))
    }
}

/// The names of all credentials that a service works with.
fn needed(service: &Service) -> impl Iterator<Item = &str> {
    let placed = service.placeholders.iter();
    let placed = placed.flat_map(|placed| placed.credentials.iter().map(String::as_str));
    let injected = service.inject.iter().flat_map(Injection::credentials);
    injected.chain(placed)
}

fn problems(
    wanted: &[Wanted],
    claims: &[Claims],
    found: &[RequiredService],
    held: &HashSet<(VaultId, String)>,
) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (wanted, claims) in wanted.iter().zip(claims) {
        for (index, text) in wanted.require.iter().enumerate() {
            for message in of_one(text, claims, found, held) {
                if problems.len() == PROBLEMS_MAX {
                    return problems;
                }
                problems.push((format!("{}require[{index}]", wanted.at), message));
            }
        }
    }
    problems
}

/// What keeps a session from using a service. Where several of its vaults have the service, each must be in order: the
/// gateway takes the one that fits the request best.
fn of_one(
    text: &str,
    claims: &Claims,
    found: &[RequiredService],
    held: &HashSet<(VaultId, String)>,
) -> Vec<String> {
    let reference = Reference::read(text, ServiceId::uuid);
    let is_meant = |found: &&RequiredService| {
        let service = &found.service;
        let named = reference.id == Some(service.id.uuid())
            || reference.name == Some(service.name.as_str());
        named && claims.vaults.iter().any(|vault| vault.id == service.vault)
    };
    let meant: Vec<_> = found.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let vault = claims
            .vaults
            .first()
            .map_or("", |vault| vault.name.as_str());
        return vec![match reference.name {
            Some(name) => format!(
                "{name} is not in the session's vaults: \
                 `sortie service set {name} --vault {vault} --host HOST --bearer CREDENTIAL`"
            ),
            None => format!(
                "{text} is not in the session's vaults: `sortie service list --vault {vault}` shows what is"
            ),
        }];
    }
    meant
        .into_iter()
        .flat_map(|found| faults(found, claims, held))
        .collect()
}

fn faults(
    found: &RequiredService,
    claims: &Claims,
    held: &HashSet<(VaultId, String)>,
) -> Vec<String> {
    let (service, vault) = (&found.service, &found.vault_name);
    let name = &service.name;
    let mut faults = Vec::new();
    if !found.vault_enabled {
        faults.push(format!(
            "{name} is in the vault {vault}, which is switched off: `sortie vault update {vault} --enabled true`"
        ));
    }
    if !service.enabled {
        faults.push(format!(
            "{name} is switched off: `sortie service enable {name} --vault {vault}`"
        ));
    }
    if !claims.scope.is_empty() && !claims.scope.contains(&service.id) {
        faults.push(format!(
            "{name} is not among `services`, to which the session is narrowed: `sortie session mint --service {name} …`"
        ));
    }
    let mut missing: Vec<_> = needed(service)
        .filter(|credential| !held.contains(&(service.vault, (*credential).to_owned())))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    let host = &service.host;
    let port = service
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    faults.extend(missing.into_iter().map(|credential| {
        format!(
            "{name} needs the credential {credential}, which the vault {vault} does not hold: \
             `sortie credential set {credential} --vault {vault} --to '{host}{port}'`"
        )
    }));
    faults
}
