//! Credentials, as gateways see them, and where they may go.

use crate::host::{HostPattern, PathPattern};
use crate::id::{CredentialId, TenantId, VaultId};
use crate::sealed::{Place, Purpose, Sealed};
use crate::secret::Secret;
use crate::service::{Scheme, Service};

/// The shortest value that a credential may have, in bytes.
///
/// A shorter one cannot be told from ordinary text in an answer, so masking it would mask everything.
pub const VALUE_MIN: usize = 8;
/// The longest value that a credential may have, in bytes: a private key in PEM fits.
pub const VALUE_MAX: usize = 16 * 1024;

/// A named secret of a vault, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id, the same over all versions.
    pub id: CredentialId,
    /// The vault that it belongs to.
    pub vault: VaultId,
    /// Unique in the vault: `[A-Za-z_][A-Za-z0-9_]{0,63}`.
    pub name: String,
    /// What stands for it in an agent's request, e.g. `__GITHUB_TOKEN__`.
    pub placeholder: String,
    /// From 1, raised by each new value.
    pub version: u32,
    /// A [`CredentialPayload`](crate::wire::v1::CredentialPayload) under the vault's data key; `None` once this version
    /// was revoked.
    pub sealed: Option<Sealed>,
}

impl Credential {
    /// Hands the place of this version to a caller that seals or opens it.
    pub fn at_place<T>(&self, tenant: TenantId, act: impl FnOnce(Place<'_>) -> T) -> T {
        let ids = [tenant.uuid(), self.vault.uuid(), self.id.uuid()];
        act(Place {
            purpose: Purpose::Credential,
            ids: &ids,
            version: self.version,
        })
    }
}

/// A credential's value in the clear, with where it may go.
#[derive(Debug)]
pub struct OpenedCredential {
    /// The value.
    pub value: Secret,
    /// It may go to any of these, and nowhere else.
    pub destinations: Vec<Destination>,
}

/// Where a credential may be sent. Every part must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The host.
    pub host: HostPattern,
    /// The port; `None` is any.
    pub port: Option<u16>,
    /// Whether plain HTTP may carry it. HTTPS always may.
    pub cleartext: bool,
    /// What the canonical path must match; `None` is any.
    pub path: Option<PathPattern>,
    /// The methods; empty is any.
    pub methods: Vec<String>,
    /// Where in the request it may stand, injected or in a placeholder's place; empty is wherever the service says.
    pub surfaces: Vec<Surface>,
}

impl Destination {
    /// Whether it allows any request of a service to carry the value in one of these places. If none of a credential's
    /// does, the service is of no use.
    #[must_use]
    pub fn meets(&self, service: &Service, surfaces: &[Surface]) -> bool {
        let any = |allowed: &[String]| {
            let named = |method: &String| allowed.contains(method);
            allowed.is_empty() || service.methods.is_empty() || service.methods.iter().any(named)
        };
        self.host.meets(&service.host)
            && self
                .port
                .is_none_or(|port| port == service.effective_port())
            && (self.cleartext || service.scheme == Scheme::Https)
            && self
                .path
                .as_ref()
                .is_none_or(|path| path.meets(&service.path))
            && any(&self.methods)
            && (self.surfaces.is_empty() || surfaces.iter().any(|one| self.surfaces.contains(one)))
    }
}

/// A part of a request in which a placeholder is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Surface {
    /// Header values, inside decoded `Basic` too.
    Header,
    /// Path segments.
    Path,
    /// Values of the query.
    Query,
}

impl Surface {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Header, Self::Path, Self::Query];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Path => "path",
            Self::Query => "query",
        }
    }

    /// Reads the name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|surface| surface.name() == name)
    }
}

#[cfg(test)]
mod tests;
