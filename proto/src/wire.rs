//! The generated wire types, and the conversions between them and the types that have meaning.
//!
//! What does not convert is [`Invalid`], with the field that is wrong: an unknown enum value, a pattern that does not
//! parse, an id of the wrong length. Whoever receives it refuses the object; it is never read as "no restriction".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use crate::agent::{Grant, Revocation, RevokedSubject, VaultRole};
use crate::change::{Change, Object, Snapshot, Tombstone};
use crate::credential::{Credential, Destination, OpenedCredential, Surface};
use crate::host::{HostPattern, PathPattern};
use crate::id::{AgentId, CredentialId, KeyId, ServiceId, TenantId, VaultId};
use crate::revision::Revision;
use crate::sealed::{KeyRef, Sealed, SealingKey};
use crate::secret::Secret;
use crate::service::{Injection, Intercept, Placeholders, Scheme, Service, Template};
use crate::tenant::Tenant;
use crate::token::VerifyingKey;
use crate::vault::{Vault, VaultMode};

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

// === Revision ===

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

// === Sealed ===

impl From<&Sealed> for v1::Sealed {
    fn from(sealed: &Sealed) -> Self {
        Self {
            key_id: sealed.key.id.to_bytes(),
            key_version: sealed.key.version,
            nonce: sealed.nonce.to_vec(),
            ciphertext: sealed.ciphertext.clone(),
        }
    }
}

impl TryFrom<v1::Sealed> for Sealed {
    type Error = Invalid;

    fn try_from(wire: v1::Sealed) -> Result<Self> {
        let id = KeyId::from_bytes(&wire.key_id).or(Err(Invalid("sealed.key_id")))?;
        let nonce = wire.nonce.try_into().or(Err(Invalid("sealed.nonce")))?;
        Ok(Self {
            key: KeyRef {
                id,
                version: wire.key_version,
            },
            nonce,
            ciphertext: wire.ciphertext,
        })
    }
}

impl From<&SealingKey> for v1::DataKey {
    fn from(key: &SealingKey) -> Self {
        let reference = key.reference();
        Self {
            key_id: reference.id.to_bytes(),
            version: reference.version,
            key: key.bytes().expose().to_vec(),
        }
    }
}

impl TryFrom<v1::DataKey> for SealingKey {
    type Error = Invalid;

    fn try_from(wire: v1::DataKey) -> Result<Self> {
        let id = KeyId::from_bytes(&wire.key_id).or(Err(Invalid("data_key.key_id")))?;
        let reference = KeyRef {
            id,
            version: wire.version,
        };
        Self::new(reference, Secret::new(wire.key)).or(Err(Invalid("data_key.key")))
    }
}

// === Tenant, Vault, Grant ===

impl From<&Tenant> for v1::Tenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_bytes(),
            name: tenant.name.clone(),
            version: tenant.version,
            generation: tenant.generation,
            enabled: tenant.enabled,
            private_allow: tenant
                .private_allow
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl TryFrom<v1::Tenant> for Tenant {
    type Error = Invalid;

    fn try_from(wire: v1::Tenant) -> Result<Self> {
        let parse = |text: &String| text.parse().or(Err(Invalid("tenant.private_allow")));
        Ok(Self {
            id: TenantId::from_bytes(&wire.id).or(Err(Invalid("tenant.id")))?,
            private_allow: wire
                .private_allow
                .iter()
                .map(parse)
                .collect::<Result<_>>()?,
            name: wire.name,
            version: wire.version,
            generation: wire.generation,
            enabled: wire.enabled,
        })
    }
}

impl From<&Vault> for v1::Vault {
    fn from(vault: &Vault) -> Self {
        let mode = match vault.mode {
            VaultMode::Deny => v1::VaultMode::Deny,
            VaultMode::Observe => v1::VaultMode::Observe,
        };
        Self {
            id: vault.id.to_bytes(),
            tenant_id: vault.tenant.to_bytes(),
            name: vault.name.clone(),
            version: vault.version,
            generation: vault.generation,
            enabled: vault.enabled,
            mode: mode.into(),
            staleness_seconds: u32::try_from(vault.staleness.as_secs()).unwrap_or(u32::MAX),
            durable: vault.durable,
        }
    }
}

impl TryFrom<v1::Vault> for Vault {
    type Error = Invalid;

    fn try_from(wire: v1::Vault) -> Result<Self> {
        let mode = match wire.mode() {
            v1::VaultMode::Deny => VaultMode::Deny,
            v1::VaultMode::Observe => VaultMode::Observe,
            v1::VaultMode::Unspecified => return Err(Invalid("vault.mode")),
        };
        Ok(Self {
            id: vault_id(&wire.id)?,
            tenant: TenantId::from_bytes(&wire.tenant_id).or(Err(Invalid("vault.tenant_id")))?,
            name: wire.name,
            version: wire.version,
            generation: wire.generation,
            enabled: wire.enabled,
            mode,
            staleness: Duration::from_secs(wire.staleness_seconds.into()),
            durable: wire.durable,
        })
    }
}

fn vault_id(bytes: &[u8]) -> Result<VaultId> {
    VaultId::from_bytes(bytes).or(Err(Invalid("vault_id")))
}

fn agent_id(bytes: &[u8]) -> Result<AgentId> {
    AgentId::from_bytes(bytes).or(Err(Invalid("agent_id")))
}

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        let role = match grant.role {
            VaultRole::User => v1::VaultRole::User,
            VaultRole::Editor => v1::VaultRole::Editor,
            VaultRole::Admin => v1::VaultRole::Admin,
        };
        Self {
            vault_id: grant.vault.to_bytes(),
            agent_id: grant.agent.to_bytes(),
            role: role.into(),
            expires_at: grant.expires_at.unwrap_or(0),
            version: grant.version,
        }
    }
}

impl TryFrom<v1::Grant> for Grant {
    type Error = Invalid;

    fn try_from(wire: v1::Grant) -> Result<Self> {
        let role = match wire.role() {
            v1::VaultRole::User => VaultRole::User,
            v1::VaultRole::Editor => VaultRole::Editor,
            v1::VaultRole::Admin => VaultRole::Admin,
            v1::VaultRole::Unspecified => return Err(Invalid("grant.role")),
        };
        Ok(Self {
            vault: vault_id(&wire.vault_id)?,
            agent: agent_id(&wire.agent_id)?,
            role,
            expires_at: (wire.expires_at != 0).then_some(wire.expires_at),
            version: wire.version,
        })
    }
}

// === Revocation, SigningKey ===

impl From<&Revocation> for v1::Revocation {
    fn from(revocation: &Revocation) -> Self {
        use v1::revocation::Subject;
        let (subject, generation) = match revocation.subject {
            RevokedSubject::Session(id) => (Subject::SessionId(id.to_bytes()), 0),
            RevokedSubject::Agent(id, generation) => (Subject::AgentId(id.to_bytes()), generation),
            RevokedSubject::Vault(id, generation) => (Subject::VaultId(id.to_bytes()), generation),
            RevokedSubject::Tenant(generation) => (Subject::WholeTenant(true), generation),
        };
        Self {
            tenant_id: revocation.tenant.to_bytes(),
            subject: Some(subject),
            generation,
            expires_at: revocation.expires_at,
        }
    }
}

impl TryFrom<v1::Revocation> for Revocation {
    type Error = Invalid;

    fn try_from(wire: v1::Revocation) -> Result<Self> {
        use v1::revocation::Subject;
        let subject = match required(wire.subject, "revocation.subject")? {
            Subject::SessionId(id) => RevokedSubject::Session(
                crate::id::SessionId::from_bytes(&id).or(Err(Invalid("session_id")))?,
            ),
            Subject::AgentId(id) => RevokedSubject::Agent(agent_id(&id)?, wire.generation),
            Subject::VaultId(id) => RevokedSubject::Vault(vault_id(&id)?, wire.generation),
            Subject::WholeTenant(_) => RevokedSubject::Tenant(wire.generation),
            Subject::User(_) | Subject::ParentSessionId(_) => {
                return Err(Invalid("revocation.subject"));
            }
        };
        Ok(Self {
            tenant: TenantId::from_bytes(&wire.tenant_id)
                .or(Err(Invalid("revocation.tenant_id")))?,
            subject,
            expires_at: wire.expires_at,
        })
    }
}

impl From<&VerifyingKey> for v1::SigningKey {
    fn from(key: &VerifyingKey) -> Self {
        Self {
            kid: key.kid.clone(),
            public_key: key.public.to_vec(),
            not_after: key.not_after,
        }
    }
}

impl TryFrom<v1::SigningKey> for VerifyingKey {
    type Error = Invalid;

    fn try_from(wire: v1::SigningKey) -> Result<Self> {
        let public = wire
            .public_key
            .try_into()
            .or(Err(Invalid("signing_key.public_key")))?;
        Ok(Self {
            kid: wire.kid,
            public,
            not_after: wire.not_after,
        })
    }
}

// === Service ===

fn port(wire: u32, name: &'static str) -> Result<Option<u16>> {
    match u16::try_from(wire) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(Invalid(name)),
    }
}

fn surface_to_wire(surface: Surface) -> v1::Surface {
    match surface {
        Surface::Header => v1::Surface::Header,
        Surface::Path => v1::Surface::Path,
        Surface::Query => v1::Surface::Query,
    }
}

/// Takes the numbers, not the generated iterator: that one skips what it does not know, and an unknown surface must not
/// read as no restriction.
fn surfaces(wire: &[i32]) -> Result<Vec<Surface>> {
    let surface = |&number: &i32| match v1::Surface::try_from(number) {
        Ok(v1::Surface::Header) => Ok(Surface::Header),
        Ok(v1::Surface::Path) => Ok(Surface::Path),
        Ok(v1::Surface::Query) => Ok(Surface::Query),
        Ok(v1::Surface::Unspecified) | Err(_) => Err(Invalid("surface")),
    };
    wire.iter().map(surface).collect()
}

impl From<&Injection> for v1::Injection {
    fn from(injection: &Injection) -> Self {
        use v1::injection::How;
        let how = match injection {
            Injection::Bearer { credential } => How::Bearer(v1::BearerInjection {
                credential: credential.clone(),
            }),
            Injection::Basic {
                username,
                credential,
            } => How::Basic(v1::BasicInjection {
                username: username.clone(),
                credential: credential.clone(),
            }),
            Injection::Header { name, template } => How::Header(v1::HeaderInjection {
                name: name.clone(),
                template: template.to_string(),
            }),
            Injection::Query { name, credential } => How::Query(v1::QueryInjection {
                name: name.clone(),
                credential: credential.clone(),
            }),
        };
        Self { how: Some(how) }
    }
}

impl TryFrom<v1::Injection> for Injection {
    type Error = Invalid;

    fn try_from(wire: v1::Injection) -> Result<Self> {
        use v1::injection::How;
        Ok(match required(wire.how, "injection.how")? {
            How::Bearer(v1::BearerInjection { credential }) => Self::Bearer { credential },
            How::Basic(v1::BasicInjection {
                username,
                credential,
            }) => Self::Basic {
                username,
                credential,
            },
            How::Query(v1::QueryInjection { name, credential }) => Self::Query { name, credential },
            How::Header(v1::HeaderInjection { name, template }) => {
                let template = Template::parse(&template).or(Err(Invalid("injection.template")))?;
                Self::Header { name, template }
            }
        })
    }
}

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        let scheme = match service.scheme {
            Scheme::Https => v1::Scheme::Https,
            Scheme::Http => v1::Scheme::Http,
        };
        let intercept = match service.intercept {
            Intercept::Always => v1::Intercept::Always,
            Intercept::Never => v1::Intercept::Never,
        };
        let placeholders = service
            .placeholders
            .as_ref()
            .map(|placeholders| v1::Placeholders {
                credentials: placeholders.credentials.clone(),
                surfaces: placeholders
                    .surfaces
                    .iter()
                    .map(|&surface| surface_to_wire(surface).into())
                    .collect(),
            });
        Self {
            id: service.id.to_bytes(),
            vault_id: service.vault.to_bytes(),
            name: service.name.clone(),
            version: service.version,
            enabled: service.enabled,
            scheme: scheme.into(),
            host: service.host.to_string(),
            port: service.port.map_or(0, u32::from),
            methods: service.methods.clone(),
            path: service.path.to_string(),
            inject: service.inject.iter().map(Into::into).collect(),
            placeholders,
            redact: service.redact,
            intercept: intercept.into(),
            encoded_slash: service.encoded_slash,
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = Invalid;

    fn try_from(wire: v1::Service) -> Result<Self> {
        let scheme = match wire.scheme() {
            v1::Scheme::Https => Scheme::Https,
            v1::Scheme::Http => Scheme::Http,
            v1::Scheme::Unspecified => return Err(Invalid("service.scheme")),
        };
        let intercept = match wire.intercept() {
            v1::Intercept::Always => Intercept::Always,
            v1::Intercept::Never => Intercept::Never,
            v1::Intercept::Unspecified => return Err(Invalid("service.intercept")),
        };
        let placeholders = match wire.placeholders {
            None => None,
            Some(wire) => {
                let surfaces = surfaces(&wire.surfaces)?;
                Some(Placeholders {
                    surfaces,
                    credentials: wire.credentials,
                })
            }
        };
        Ok(Self {
            id: ServiceId::from_bytes(&wire.id).or(Err(Invalid("service.id")))?,
            vault: vault_id(&wire.vault_id)?,
            name: wire.name,
            version: wire.version,
            enabled: wire.enabled,
            scheme,
            host: HostPattern::parse(&wire.host).or(Err(Invalid("service.host")))?,
            port: port(wire.port, "service.port")?,
            methods: wire.methods,
            path: PathPattern::parse(&wire.path).or(Err(Invalid("service.path")))?,
            inject: wire
                .inject
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            placeholders,
            redact: wire.redact,
            intercept,
            encoded_slash: wire.encoded_slash,
        })
    }
}

// === Credential ===

impl From<&Credential> for v1::Credential {
    fn from(credential: &Credential) -> Self {
        Self {
            id: credential.id.to_bytes(),
            vault_id: credential.vault.to_bytes(),
            name: credential.name.clone(),
            placeholder: credential.placeholder.clone(),
            version: credential.version,
            sealed: Some((&credential.sealed).into()),
        }
    }
}

impl TryFrom<v1::Credential> for Credential {
    type Error = Invalid;

    fn try_from(wire: v1::Credential) -> Result<Self> {
        Ok(Self {
            id: CredentialId::from_bytes(&wire.id).or(Err(Invalid("credential.id")))?,
            vault: vault_id(&wire.vault_id)?,
            name: wire.name,
            placeholder: wire.placeholder,
            version: wire.version,
            sealed: required(wire.sealed, "credential.sealed")?.try_into()?,
        })
    }
}

impl From<&Destination> for v1::Destination {
    fn from(destination: &Destination) -> Self {
        Self {
            host: destination.host.to_string(),
            port: destination.port.map_or(0, u32::from),
            cleartext: destination.cleartext,
            path: destination
                .path
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            methods: destination.methods.clone(),
            surfaces: destination
                .surfaces
                .iter()
                .map(|&surface| surface_to_wire(surface).into())
                .collect(),
        }
    }
}

impl TryFrom<v1::Destination> for Destination {
    type Error = Invalid;

    fn try_from(wire: v1::Destination) -> Result<Self> {
        let surfaces = surfaces(&wire.surfaces)?;
        let path = match wire.path.as_str() {
            "" => None,
            text => Some(PathPattern::parse(text).or(Err(Invalid("destination.path")))?),
        };
        Ok(Self {
            host: HostPattern::parse(&wire.host).or(Err(Invalid("destination.host")))?,
            port: port(wire.port, "destination.port")?,
            cleartext: wire.cleartext,
            path,
            methods: wire.methods,
            surfaces,
        })
    }
}

impl OpenedCredential {
    /// The bytes that are sealed: the value and its destinations, together.
    #[must_use]
    pub fn to_plain(&self) -> Secret {
        let payload = v1::CredentialPayload {
            value: self.value.expose().to_vec(),
            destinations: self.destinations.iter().map(Into::into).collect(),
        };
        let plain = Secret::new(payload.encode_to_vec());
        drop(Secret::new(payload.value));
        plain
    }

    /// Reads the bytes that were sealed.
    ///
    /// # Errors
    /// [`Invalid`] if they are not a value with its destinations.
    pub fn from_plain(plain: &Secret) -> Result<Self> {
        let payload = v1::CredentialPayload::decode(plain.expose()).or(Err(Invalid("payload")))?;
        let value = Secret::new(payload.value);
        let destinations = payload
            .destinations
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_>>()?;
        Ok(Self {
            value,
            destinations,
        })
    }
}

// === Change ===

impl From<&Tombstone> for v1::Tombstone {
    fn from(tombstone: &Tombstone) -> Self {
        use v1::ObjectKind as Kind;
        let (kind, id, vault_id, tenant_id) = match tombstone {
            Tombstone::Tenant(id) => (Kind::Tenant, id.to_bytes(), Vec::new(), id.to_bytes()),
            Tombstone::Vault(id) => (Kind::Vault, id.to_bytes(), id.to_bytes(), Vec::new()),
            Tombstone::Service(vault, id) => {
                (Kind::Service, id.to_bytes(), vault.to_bytes(), Vec::new())
            }
            Tombstone::Credential(vault, id) => (
                Kind::Credential,
                id.to_bytes(),
                vault.to_bytes(),
                Vec::new(),
            ),
            Tombstone::Grant(vault, agent) => {
                (Kind::Grant, agent.to_bytes(), vault.to_bytes(), Vec::new())
            }
        };
        Self {
            kind: kind.into(),
            id,
            vault_id,
            tenant_id,
        }
    }
}

impl TryFrom<v1::Tombstone> for Tombstone {
    type Error = Invalid;

    fn try_from(wire: v1::Tombstone) -> Result<Self> {
        let id = wire.id.as_slice();
        Ok(match wire.kind() {
            v1::ObjectKind::Tenant => {
                Self::Tenant(TenantId::from_bytes(id).or(Err(Invalid("tombstone.id")))?)
            }
            v1::ObjectKind::Vault => Self::Vault(vault_id(id)?),
            v1::ObjectKind::Service => Self::Service(
                vault_id(&wire.vault_id)?,
                ServiceId::from_bytes(id).or(Err(Invalid("tombstone.id")))?,
            ),
            v1::ObjectKind::Credential => Self::Credential(
                vault_id(&wire.vault_id)?,
                CredentialId::from_bytes(id).or(Err(Invalid("tombstone.id")))?,
            ),
            v1::ObjectKind::Grant => Self::Grant(vault_id(&wire.vault_id)?, agent_id(id)?),
            v1::ObjectKind::SigningKey | v1::ObjectKind::Unspecified => {
                return Err(Invalid("tombstone.kind"));
            }
        })
    }
}

impl From<&Change> for v1::Change {
    fn from(change: &Change) -> Self {
        use v1::change::Object as Wire;
        let object = match &change.object {
            Object::Tenant(tenant) => Wire::Tenant(tenant.into()),
            Object::Vault(vault) => Wire::Vault(vault.into()),
            Object::Service(service) => Wire::Service(service.as_ref().into()),
            Object::Credential(credential) => Wire::Credential(credential.into()),
            Object::Grant(grant) => Wire::Grant(grant.into()),
            Object::Revocation(revocation) => Wire::Revocation(revocation.into()),
            Object::SigningKey(key) => Wire::SigningKey(key.into()),
            Object::Tombstone(tombstone) => Wire::Tombstone(tombstone.into()),
        };
        Self {
            revision: Some(change.revision.into()),
            object: Some(object),
        }
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Invalid;

    fn try_from(wire: v1::Change) -> Result<Self> {
        use v1::change::Object as Wire;
        let object = match required(wire.object, "change.object")? {
            Wire::Tenant(tenant) => Object::Tenant(tenant.try_into()?),
            Wire::Vault(vault) => Object::Vault(vault.try_into()?),
            Wire::Service(service) => Object::Service(Arc::new(service.try_into()?)),
            Wire::Credential(credential) => Object::Credential(credential.try_into()?),
            Wire::Grant(grant) => Object::Grant(grant.try_into()?),
            Wire::Revocation(revocation) => Object::Revocation(revocation.try_into()?),
            Wire::SigningKey(key) => Object::SigningKey(key.try_into()?),
            Wire::Tombstone(tombstone) => Object::Tombstone(tombstone.try_into()?),
        };
        Ok(Self {
            revision: required(wire.revision, "change.revision")?.into(),
            object,
        })
    }
}

impl From<&Snapshot> for v1::VaultSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            revision: Some(snapshot.revision.into()),
            vault: Some((&snapshot.vault).into()),
            services: snapshot
                .services
                .iter()
                .map(|service| service.as_ref().into())
                .collect(),
            credentials: snapshot.credentials.iter().map(Into::into).collect(),
            grants: snapshot.grants.iter().map(Into::into).collect(),
            data_keys: snapshot
                .data_keys
                .iter()
                .map(|key| key.as_ref().into())
                .collect(),
        }
    }
}

impl TryFrom<v1::VaultSnapshot> for Snapshot {
    type Error = Invalid;

    fn try_from(wire: v1::VaultSnapshot) -> Result<Self> {
        let service = |service: v1::Service| service.try_into().map(Arc::new);
        let key = |key: v1::DataKey| key.try_into().map(Arc::new);
        Ok(Self {
            revision: required(wire.revision, "snapshot.revision")?.into(),
            vault: required(wire.vault, "snapshot.vault")?.try_into()?,
            services: wire
                .services
                .into_iter()
                .map(service)
                .collect::<Result<_>>()?,
            credentials: wire
                .credentials
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            grants: wire
                .grants
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_>>()?,
            data_keys: wire.data_keys.into_iter().map(key).collect::<Result<_>>()?,
        })
    }
}
