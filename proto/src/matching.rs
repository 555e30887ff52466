//! Which service a request belongs to: pure, so that control's preview is the gateway's decision.
//!
//! Priority: an exact host before a wildcard, then a named port before the scheme's own, then the longest path
//! ([`PathPattern::specificity`](crate::host::PathPattern::specificity)), then named methods before any.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::host::{CanonicalPath, Host, HostPattern, PathPattern, parent};
use crate::service::{Scheme, Service};

/// The services of a vault, ready to be searched. A search looks at the services of one host and allocates nothing.
#[derive(Debug, Default)]
pub struct Index {
    /// By host; each list in order of priority.
    exact: HashMap<Host, Vec<Arc<Service>>>,
    /// By what stands behind the wildcard; each list in order of priority.
    wildcard: HashMap<Box<str>, Vec<Arc<Service>>>,
}

/// Where a request goes, in canonical form.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The scheme towards the upstream.
    pub scheme: Scheme,
    /// The host.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
    /// The method, as sent.
    pub method: &'a str,
    /// The path; `None` before any request is known (a tunnel that is only opened).
    pub path: Option<&'a CanonicalPath>,
}

/// Two services that would match the same request with equal priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("services {first} and {second} match the same requests")]
pub struct Ambiguous {
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
}

impl Index {
    /// Makes the index of a vault's services.
    #[must_use]
    pub fn new(services: Vec<Arc<Service>>) -> Self {
        let mut index = Self::default();
        for service in services {
            let list = match &service.host {
                HostPattern::Exact(host) => index.exact.entry(host.clone()).or_default(),
                HostPattern::Wildcard(base) => index.wildcard.entry(base.clone()).or_default(),
            };
            list.push(service);
        }
        for list in index.exact.values_mut().chain(index.wildcard.values_mut()) {
            list.sort_by(|a, b| priority(a, b));
        }
        index
    }

    /// The service that a request belongs to, enabled or not.
    #[must_use]
    pub fn find(&self, query: Query<'_>) -> Option<&Arc<Service>> {
        self.at(query.scheme, query.host, query.port)
            .find(|service| {
                covers_method(service, query.method)
                    && query.path.is_none_or(|path| service.path.matches(path))
            })
    }

    /// All services of a host and port, whatever the path and method, in order of priority.
    pub fn at(
        &self,
        scheme: Scheme,
        host: &Host,
        port: u16,
    ) -> impl Iterator<Item = &Arc<Service>> {
        self.at_host(host)
            .filter(move |service| service.scheme == scheme && service.effective_port() == port)
    }

    /// All services of a host, whatever the scheme and port, in order of priority.
    pub fn at_host(&self, host: &Host) -> impl Iterator<Item = &Arc<Service>> {
        let exact = self.exact.get(host);
        let wildcard = host
            .name()
            .and_then(parent)
            .and_then(|base| self.wildcard.get(base));
        exact.into_iter().chain(wildcard).flatten()
    }

    /// All services, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.exact.values().chain(self.wildcard.values()).flatten()
    }

    /// Whether two enabled services claim the same requests with nothing to tell them apart: the same host pattern,
    /// scheme, port and path pattern, and a method that both name, or no methods on either side.
    ///
    /// A port that is named and one that is the scheme's own count as the same here. Nothing else is ambiguous: two
    /// different patterns that cover one path always have an order.
    ///
    /// # Errors
    /// [`Ambiguous`] names two that do, in the order of their names.
    pub fn check(&self) -> Result<(), Ambiguous> {
        self.exact
            .values()
            .chain(self.wildcard.values())
            .try_for_each(|list| check_host(list))
    }
}

fn covers_method(service: &Service, method: &str) -> bool {
    service.methods.is_empty() || service.methods.iter().any(|named| named == method)
}

/// The order in which the services of one host are tried. The id only makes it the same everywhere.
fn priority(a: &Service, b: &Service) -> Ordering {
    (b.port.is_some().cmp(&a.port.is_some()))
        .then_with(|| b.path.specificity(&a.path))
        .then_with(|| a.methods.is_empty().cmp(&b.methods.is_empty()))
        .then_with(|| a.id.cmp(&b.id))
}

/// What a service claims for itself alone: one of its methods, or any.
type Claim<'a> = (Scheme, u16, &'a PathPattern, Option<&'a str>);

fn check_host(services: &[Arc<Service>]) -> Result<(), Ambiguous> {
    let mut claims: HashMap<Claim<'_>, &Service> = HashMap::new();
    for service in services.iter().filter(|service| service.enabled) {
        let port = service.effective_port();
        let any = service.methods.is_empty().then_some(None);
        let named = service.methods.iter().map(|method| Some(method.as_str()));
        for method in any.into_iter().chain(named) {
            let claim = (service.scheme, port, &service.path, method);
            let other = *claims.entry(claim).or_insert(service);
            if other.id != service.id {
                return Err(Ambiguous {
                    first: other.name.clone().min(service.name.clone()),
                    second: other.name.clone().max(service.name.clone()),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
