//! Vaults, services and credentials for the tests of several stages.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sortie_proto::agent::{Grant, VaultRole};
use sortie_proto::credential::{Credential, Destination, OpenedCredential};
use sortie_proto::host::{Host, HostPattern, PathPattern};
use sortie_proto::id::{AgentId, CredentialId, ServiceId, SessionId, TenantId, VaultId};
use sortie_proto::limits::Limits;
use sortie_proto::matching::Index;
use sortie_proto::revision::Revision;
use sortie_proto::sealed::SealingKey;
use sortie_proto::secret::Secret;
use sortie_proto::service::{Intercept, Scheme, Service};
use sortie_proto::tenant::Tenant;
use sortie_proto::token::{Claims, VaultClaim};
use sortie_proto::vault::{Vault, VaultMode};

use crate::client::connect::Target;
use crate::snapshot::VaultState;

pub(crate) fn tenant() -> Tenant {
    Tenant {
        id: TenantId::generate(),
        name: "acme".to_owned(),
        version: 1,
        generation: 0,
        enabled: true,
        private_allow: vec![],
        limits: Limits::default(),
        weight: NonZeroU32::MIN,
    }
}

pub(crate) fn vault(tenant: &Tenant, services: Vec<Service>) -> VaultState {
    VaultState {
        revision: Revision::default(),
        vault: Vault {
            id: VaultId::generate(),
            tenant: tenant.id,
            name: "main".to_owned(),
            version: 1,
            generation: 0,
            enabled: true,
            mode: VaultMode::Deny,
            staleness: Duration::from_secs(60),
            durable: false,
            limits: Limits::default(),
            session_limits: Limits::default(),
        },
        index: Index::new(services.into_iter().map(Arc::new).collect()),
        credentials: HashMap::new(),
        grants: HashMap::new(),
        data_keys: vec![Arc::new(SealingKey::generate())],
        pool: 1,
        refused_hosts: vec![],
        frozen_at: None,
    }
}

/// Reads `https://host[:port]/path`.
pub(crate) fn service(name: &str, url: &str) -> Service {
    let (target, path) = target(url);
    Service {
        id: ServiceId::generate(),
        vault: VaultId::generate(),
        name: name.to_owned(),
        version: 1,
        enabled: true,
        scheme: target.scheme,
        host: HostPattern::Exact(target.host),
        port: Some(target.port),
        methods: vec![],
        path: PathPattern::parse(&path).unwrap(),
        inject: vec![],
        placeholders: None,
        redact: true,
        intercept: Intercept::Always,
        encoded_slash: false,
        limits: Limits::default(),
    }
}

pub(crate) fn target(url: &str) -> (Target, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = Scheme::from_name(scheme).unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (host, port) = authority.split_once(':').map_or_else(
        || (authority, scheme.default_port()),
        |(host, port)| (host, port.parse().unwrap()),
    );
    let host = Host::parse(host).unwrap();
    (Target { scheme, host, port }, format!("/{path}"))
}

pub(crate) fn destination(host: &str) -> Destination {
    Destination {
        host: HostPattern::parse(host).unwrap(),
        port: None,
        cleartext: false,
        path: None,
        methods: vec![],
        surfaces: vec![],
    }
}

/// Adds a sealed credential with the default placeholder.
pub(crate) fn credential(vault: &mut VaultState, name: &str, value: &str, to: Destination) {
    let mut credential = Credential {
        id: CredentialId::generate(),
        vault: vault.vault.id,
        name: name.to_owned(),
        placeholder: format!("__{name}__"),
        version: 1,
        sealed: None,
    };
    let plain = OpenedCredential {
        value: Secret::new(value.as_bytes().to_vec()),
        destinations: vec![to],
    }
    .to_plain();
    let key = &vault.data_keys[0];
    let sealed = credential.at_place(vault.vault.tenant, |place| key.seal(place, plain.expose()));
    credential.sealed = Some(sealed);
    vault
        .credentials
        .insert(name.to_owned(), Arc::new(credential));
}

/// A session of a new agent that is a user of the vault until 2,000.
pub(crate) fn session(vault: &mut VaultState) -> Claims {
    let agent = AgentId::generate();
    vault.grants.insert(
        agent,
        Grant {
            vault: vault.vault.id,
            agent,
            role: VaultRole::User,
            expires_at: Some(2_000),
            version: 1,
            agent_limits: Limits::default(),
            session_limits: Limits::default(),
        },
    );
    Claims {
        epoch: 1,
        tenant: vault.vault.tenant,
        tenant_generation: 0,
        session: SessionId::generate(),
        agent,
        agent_generation: 0,
        vaults: vec![VaultClaim {
            id: vault.vault.id,
            name: "main".to_owned(),
            generation: 0,
        }],
        user: None,
        labels: [].into(),
        parent: None,
        ancestors: Vec::new(),
        subjects_generation: 0,
        scope: vec![],
        source: None,
        iat: 0,
        exp: 3_000,
    }
}
