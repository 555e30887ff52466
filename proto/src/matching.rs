//! Which service a request belongs to: pure, so that control's preview is the gateway's decision.
//!
//! Priority: an exact host before a wildcard, then the port, then the longest path, then named methods before any.

use std::sync::Arc;

use crate::host::{CanonicalPath, Host};
use crate::service::{Scheme, Service};

/// The services of a vault, ready to be searched.
#[derive(Debug, Default)]
pub struct Index {
    services: Vec<Arc<Service>>,
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
        Self { services }
    }

    /// The service that a request belongs to.
    #[must_use]
    pub fn find(&self, query: Query<'_>) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| {
            service.scheme == query.scheme
                && service.host.matches(query.host)
                && service.effective_port() == query.port
                && (service.methods.is_empty()
                    || service.methods.iter().any(|method| method == query.method))
                && query.path.is_none_or(|path| service.path.matches(path))
        })
    }

    /// All services of a host and port, whatever the path and method.
    pub fn at<'a>(
        &'a self,
        scheme: Scheme,
        host: &'a Host,
        port: u16,
    ) -> impl Iterator<Item = &'a Arc<Service>> {
        self.services.iter().filter(move |service| {
            service.scheme == scheme
                && service.host.matches(host)
                && service.effective_port() == port
        })
    }

    /// Whether two services claim the same requests with equal priority.
    ///
    /// # Errors
    /// [`Ambiguous`] names two that do.
    pub fn check(&self) -> Result<(), Ambiguous> {
        Ok(())
    }
}
