//! Whether the services that a session requires can be used right now. Asked when it is minted, so that a run fails
//! before it starts and not at its first request.
//!
//! **Invariant.** Each problem names the command that mends it. A name from the request is repeated only after it was
//! found to have the form of a service's name.
//! Not here: whether the upstream takes the credential. Where a credential may be sent is read from what control shows
//! of it, which is a help and no wall: what binds is sealed, and the gateway asks that at every request.

use std::collections::HashMap;

use sortie_proto::code::Code;
use sortie_proto::credential::{Destination, Surface};
use sortie_proto::host::HostPattern;
use sortie_proto::id::{ServiceId, TenantId, VaultId};
use sortie_proto::service::{Scheme, Service};
use sortie_proto::token::Claims;
use uuid::Uuid;

use super::mint::{Split, Wanted};
use super::spec;
use crate::database::services::{self, RequiredService};
use crate::database::{Reference, Transaction, credentials};
use crate::error::{Error, Result};

/// The most problems that an answer lists: the sessions of a batch often have the same.
const PROBLEMS_MAX: usize = 100;

/// The credentials that the vaults hold, and where each may be sent.
type Held = HashMap<(VaultId, String), Vec<Destination>>;

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
        .flat_map(|found| found.service.uses())
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names.dedup();
    let held = held(tx, tenant, &vaults, &names).await?;
    let problems = problems(wanted, claims, &found, &held);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::fields(problems).with_code(Code::RequirementUnmet))
    }
}

/// What keeps a service that was just set from its credentials: those that its vault lacks, and those that may not go
/// where it sends them.
///
/// # Errors
/// As the database's.
pub(super) async fn warnings(
    tx: &Transaction,
    tenant: TenantId,
    service: &Service,
    vault: &str,
) -> Result<Vec<String>> {
    let names: Vec<_> = service.uses().map(|(name, _)| name).collect();
    let held = held(tx, tenant, &[service.vault.uuid()], &names).await?;
    Ok(all_unmet(service, vault, &held))
}

async fn held(tx: &Transaction, tenant: TenantId, vaults: &[Uuid], names: &[&str]) -> Result<Held> {
    let rows = credentials::held(tx, tenant, vaults, names).await?;
    let read = |(credential, specs): (_, Vec<_>)| (credential, spec::shown(&specs));
    Ok(rows.into_iter().map(read).collect())
}

fn problems(
    wanted: &[Wanted],
    claims: &[Claims],
    found: &[RequiredService],
    held: &Held,
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
fn of_one(text: &str, claims: &Claims, found: &[RequiredService], held: &Held) -> Vec<String> {
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

fn faults(found: &RequiredService, claims: &Claims, held: &Held) -> Vec<String> {
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
    faults.extend(all_unmet(service, vault, held));
    faults
}

/// What keeps a service from its credentials.
fn all_unmet(service: &Service, vault: &str, held: &Held) -> Vec<String> {
    let mut uses: Vec<_> = service.uses().collect();
    uses.sort_unstable();
    let unmet = uses
        .into_iter()
        .filter_map(|used| unmet(service, vault, used, held));
    let mut unmet: Vec<_> = unmet.collect();
    // One credential in two headers is one fault.
    unmet.dedup();
    unmet
}

fn unmet(
    service: &Service,
    vault: &str,
    (credential, surfaces): (&str, &[Surface]),
    held: &Held,
) -> Option<String> {
    let name = &service.name;
    let known = held.get(&(service.vault, credential.to_owned()));
    let place = place(service);
    let Some(destinations) = known else {
        return Some(format!(
            "{name} needs the credential {credential}, which the vault {vault} does not hold: \
             `sortie credential set {credential} --vault {vault} --to '{place}'`"
        ));
    };
    let mut all = destinations.iter();
    if all.any(|destination| destination.meets(service, surfaces)) {
        return None;
    }
    let mend = again(service, destinations).map_or_else(
        || "give it other `destinations` over the API, with its value".to_owned(),
        |to| {
            format!(
                "`sortie credential set {credential} --vault {vault}{to}`, with its value again"
            )
        },
    );
    Some(format!(
        "{name} sends the credential {credential} to {place}, where it may not go: {mend}"
    ))
}

/// The options that let a credential go where it may go already, and to a service. None where they would let it go
/// further than that: they say host and port alone.
fn again(service: &Service, destinations: &[Destination]) -> Option<String> {
    let is_said = |to: &Destination| {
        to.path.is_none() && to.methods.is_empty() && to.surfaces.is_empty() && !to.cleartext
    };
    let all = service.scheme == Scheme::Https && destinations.iter().all(is_said);
    let known = destinations.iter().map(|to| written(&to.host, to.port));
    let places = known.chain([place(service)]);
    all.then(|| places.map(|place| format!(" --to '{place}'")).collect())
}

/// Where a service leads, as a destination is written.
fn place(service: &Service) -> String {
    written(&service.host, service.port)
}

fn written(host: &HostPattern, port: Option<u16>) -> String {
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{host}{port}")
}
