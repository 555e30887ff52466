//! (Target, method, path) → the service of a vault, or what an unmatched request is.

use std::sync::Arc;

use sortie_proto::code::Code;
use sortie_proto::host::{CanonicalPath, Host, HostPattern};
use sortie_proto::matching::Query;
use sortie_proto::service::{Intercept, Scheme, Service};
use sortie_proto::vault::VaultMode;

use crate::client::base::Named;
use crate::client::connect::Target;
use crate::error::{Error, Result};
use crate::snapshot::VaultState;

/// What a request belongs to.
#[derive(Debug, Clone)]
pub struct Match {
    /// The vault that decides.
    pub vault: Arc<VaultState>,
    /// The service; `None` passes in a vault that observes.
    pub service: Option<Arc<Service>>,
}

/// Finds the service of a request: the first of the vaults, in order, that has one; else the first vault's mode decides.
///
/// `raw_path` is the path as it was sent, without the query. It is read only where a service covers the target: what
/// passes through a vault that observes passes as it is.
///
/// # Errors
/// `vault_unavailable` where a service for the host was not understood; `path_refused`, `host_unmatched`,
/// `request_unmatched`, `service_disabled`, `cleartext_refused`.
pub fn find(
    all: &[Arc<VaultState>],
    target: &Target,
    method: &str,
    raw_path: &str,
) -> Result<Match> {
    let (vaults, unread) = understood(all, &target.host);
    let known = vaults
        .iter()
        .any(|vault| services_at(vault, target).next().is_some());
    if !known {
        return if unread {
            Err(UNREAD.into())
        } else {
            unmatched(all, target)
        };
    }
    let path = CanonicalPath::parse(raw_path)
        .map_err(|refused| Error::because(Code::PathRefused, refused))?;
    let find = |path| {
        let query = Query {
            scheme: target.scheme,
            host: &target.host,
            port: target.port,
            method,
            path: Some(path),
        };
        vaults
            .iter()
            .find_map(|vault| Some((vault, vault.index.find(query)?)))
    };
    let nobodys = if unread {
        UNREAD
    } else {
        Code::RequestUnmatched
    };
    let (vault, service) = find(&path).ok_or(nobodys)?;
    // However the upstream reads it, the request must belong to the same service: `//admin` is no way around `/admin/**`.
    let same = |reading| find(reading).is_some_and(|(_, other)| Arc::ptr_eq(other, service));
    if !path.readings().iter().all(same) {
        return Err(Code::PathRefused.into());
    }
    if !service.enabled {
        return Err(Code::ServiceDisabled.into());
    }
    if path.encoded_slash() && !service.encoded_slash {
        return Err(Code::PathRefused.into());
    }
    Ok(Match {
        vault: Arc::clone(vault),
        service: Some(Arc::clone(service)),
    })
}

/// The service of a vault that has a name, and where it leads: what a base URL stands for.
///
/// # Errors
/// `service_unknown`; `base_url_unsupported` for one of several hosts, or whose tunnels are passed on untouched.
pub fn named(vault: &VaultState, name: &str) -> Result<Named> {
    let mut services = vault.index.iter();
    let service = services
        .find(|service| service.name == name)
        .ok_or(Code::ServiceUnknown)?;
    match (&service.host, service.intercept) {
        (HostPattern::Exact(host), Intercept::Always) => Ok(Named {
            service: service.id,
            target: Target {
                scheme: service.scheme,
                host: host.clone(),
                port: service.effective_port(),
            },
        }),
        (HostPattern::Wildcard(_), _) | (_, Intercept::Never) => {
            Err(Code::BaseUrlUnsupported.into())
        }
    }
}

/// Whether a tunnel to the target is passed on untouched: some vault has an enabled `intercept: never` service for it,
/// and none has one that is intercepted, enabled or not: a disabled one refuses requests, which takes opening them.
#[must_use]
pub fn passes_untouched(vaults: &[Arc<VaultState>], target: &Target) -> Option<Match> {
    let (vaults, _) = understood(vaults, &target.host);
    let services = || {
        vaults
            .iter()
            .flat_map(|vault| services_at(vault, target).map(move |service| (vault, service)))
    };
    if services().any(|(_, service)| service.intercept == Intercept::Always) {
        return None;
    }
    let (vault, service) = services().find(|(_, service)| service.enabled)?;
    Some(Match {
        vault: Arc::clone(vault),
        service: Some(Arc::clone(service)),
    })
}

/// What a request is refused with that might belong to a service that was not understood.
const UNREAD: Code = Code::VaultUnavailable;

/// The vaults before the first of which a service for a host was not understood, and whether there is such a one: what
/// none of those before it covers may be its.
fn understood<'a>(vaults: &'a [Arc<VaultState>], host: &Host) -> (&'a [Arc<VaultState>], bool) {
    let first = vaults.iter().position(|vault| vault.refuses(host));
    let before = vaults.get(..first.unwrap_or(vaults.len()));
    (before.unwrap_or_default(), first.is_some())
}

/// Whether any request to the target's host and port, in TLS or not, can be allowed. Where none can, nothing else of a
/// tunnel need be worked out.
#[must_use]
pub fn may_match(vaults: &[Arc<VaultState>], target: &Target) -> bool {
    let schemes = [Scheme::Https, Scheme::Http];
    let covered = vaults.iter().any(|vault| {
        schemes.into_iter().any(|scheme| {
            let mut services = vault.index.at(scheme, &target.host, target.port);
            services.next().is_some()
        }) || vault.refuses(&target.host)
    });
    covered || observing(vaults).is_some()
}

/// The vault that what no vault covers is attributed to, if it lets it pass: the first one. A later vault that observes
/// changes nothing, since what passes is recorded, and ended, as the first one's.
fn observing(vaults: &[Arc<VaultState>]) -> Option<&Arc<VaultState>> {
    let first = vaults.first()?;
    match first.vault.mode {
        VaultMode::Deny => None,
        VaultMode::Observe => Some(first),
    }
}

fn services_at<'a>(
    vault: &'a VaultState,
    target: &'a Target,
) -> impl Iterator<Item = &'a Arc<Service>> {
    vault.index.at(target.scheme, &target.host, target.port)
}

/// No vault has a service for the scheme, host and port.
fn unmatched(vaults: &[Arc<VaultState>], target: &Target) -> Result<Match> {
    let meant_for_tls = target.scheme == Scheme::Http
        && vaults
            .iter()
            .flat_map(|vault| vault.index.at_host(&target.host))
            .any(|service| service.scheme == Scheme::Https);
    if meant_for_tls {
        return Err(Code::CleartextRefused.into());
    }
    let vault = observing(vaults).ok_or(Code::HostUnmatched)?;
    Ok(Match {
        vault: Arc::clone(vault),
        service: None,
    })
}

#[cfg(test)]
mod tests;
