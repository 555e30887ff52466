//! Every type that crosses the wire comes back as it was, and no bytes make the reader panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::{select, subsequence};
use prost::Message;
use sortie_proto::agent::{Grant, Revocation, RevokedSubject, VaultRole};
use sortie_proto::change::{Change, Object, Snapshot, Tombstone};
use sortie_proto::credential::{Credential, Destination, OpenedCredential, Surface};
use sortie_proto::host::{Host, HostPattern, PathPattern};
use sortie_proto::id::{AgentId, CredentialId, KeyId, ServiceId, SessionId, TenantId, VaultId};
use sortie_proto::limits::{Limits, Period, Rate};
use sortie_proto::revision::Revision;
use sortie_proto::sealed::{KeyRef, Sealed, SealingKey};
use sortie_proto::secret::Secret;
use sortie_proto::service::{Injection, Intercept, Placeholders, Scheme, Service, Template};
use sortie_proto::tenant::Tenant;
use sortie_proto::token::VerifyingKey;
use sortie_proto::vault::{Vault, VaultMode};
use sortie_proto::wire::{Invalid, v1};
use uuid::Uuid;

// === The pieces ===

fn id<T: From<Uuid> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    any::<u128>().prop_map(|bits| T::from(Uuid::from_u128(bits)))
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,20}"
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<(u64, u64)>().prop_map(|(epoch, n)| Revision { epoch, n })
}

fn host() -> impl Strategy<Value = HostPattern> {
    let text = prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){0,2}\\.com",
        // Below a name that is no public suffix, whatever the list says next year.
        "\\*\\.[a-z][a-z0-9]{0,8}\\.example\\.com",
    ];
    let named = text.prop_map(|text| HostPattern::parse(&text).unwrap());
    let address = any::<IpAddr>().prop_map(|address| HostPattern::Exact(Host::Address(address)));
    prop_oneof![named, address]
}

fn path() -> impl Strategy<Value = PathPattern> {
    let segments = vec(
        prop_oneof!["[a-z0-9_.-]{0,5}[a-z]", Just("*".to_owned())],
        1..4,
    );
    (segments, any::<bool>()).prop_map(|(segments, open)| {
        let end = if open { "/**" } else { "" };
        PathPattern::parse(&format!("/{}{end}", segments.join("/"))).unwrap()
    })
}

fn methods() -> impl Strategy<Value = Vec<String>> {
    let all = ["GET", "POST", "PUT", "DELETE", "PATCH"]
        .map(str::to_owned)
        .to_vec();
    subsequence(all, 0..=5)
}

fn surfaces() -> impl Strategy<Value = Vec<Surface>> {
    subsequence(Surface::ALL.to_vec(), 0..=3)
}

fn port() -> impl Strategy<Value = Option<u16>> {
    option::of(1..=u16::MAX)
}

fn injection() -> impl Strategy<Value = Injection> {
    let template =
        ("[A-Za-z :=]{0,8}", name(), "[A-Za-z :=]{0,8}").prop_map(|(before, name, after)| {
            Template::parse(&format!("{before}{{{{ {name} }}}}{after}")).unwrap()
        });
    prop_oneof![
        name().prop_map(|credential| Injection::Bearer { credential }),
        ("[a-z]{0,8}", name()).prop_map(|(username, credential)| Injection::Basic {
            username,
            credential
        }),
        ("x-[a-z]{1,8}", template)
            .prop_map(|(name, template)| Injection::Header { name, template }),
        ("[a-z]{1,8}", name()).prop_map(|(name, credential)| Injection::Query { name, credential }),
    ]
}

fn placeholders() -> impl Strategy<Value = Option<Placeholders>> {
    let some = (vec(name(), 0..3), surfaces());
    option::of(some.prop_map(|(credentials, surfaces)| Placeholders {
        credentials,
        surfaces,
    }))
}

fn sealed() -> impl Strategy<Value = Sealed> {
    (
        id::<KeyId>(),
        any::<u32>(),
        any::<[u8; 12]>(),
        vec(any::<u8>(), 0..64),
    )
        .prop_map(|(id, version, nonce, ciphertext)| Sealed {
            key: KeyRef { id, version },
            nonce,
            ciphertext,
        })
}

// === The objects ===

fn tenant() -> impl Strategy<Value = Tenant> {
    let network = (any::<IpAddr>(), 0..=32_u8);
    let network = network.prop_map(|(address, bits)| IpNet::new(address, bits).unwrap());
    (
        id(),
        name(),
        any::<u64>(),
        any::<u64>(),
        any::<bool>(),
        vec(network, 0..3),
        limits(),
        1..=1_000_u32,
    )
        .prop_map(
            |(id, name, version, generation, enabled, private_allow, limits, weight)| Tenant {
                id,
                name,
                version,
                generation,
                enabled,
                private_allow,
                limits,
                weight: NonZeroU32::new(weight).unwrap(),
            },
        )
}

fn rate() -> impl Strategy<Value = Rate> {
    let per = select(vec![
        Period::Second,
        Period::Minute,
        Period::Hour,
        Period::Day,
    ]);
    (1..=1_000_000_u64, per, 1..=7_u64)
        .prop_map(|(count, per, times)| Rate::new(count, per, count * times).unwrap())
}

fn limits() -> impl Strategy<Value = Limits> {
    let parts = (option::of(rate()), option::of(rate()), any::<u32>());
    parts.prop_map(|(requests, bytes, concurrency)| Limits {
        requests,
        bytes,
        concurrency: NonZeroU32::new(concurrency),
    })
}

fn vault() -> impl Strategy<Value = Vault> {
    let ids = (id(), id(), name());
    let numbers = (any::<u64>(), any::<u64>(), 30_u64..=86_400);
    let settings = (
        any::<bool>(),
        any::<bool>(),
        select(vec![VaultMode::Deny, VaultMode::Observe]),
        limits(),
        limits(),
    );
    (ids, numbers, settings).prop_map(
        |((id, tenant, name), (version, generation, seconds), settings)| {
            let (enabled, durable, mode, limits, session_limits) = settings;
            Vault {
                id,
                tenant,
                name,
                version,
                generation,
                enabled,
                mode,
                staleness: Duration::from_secs(seconds),
                durable,
                limits,
                session_limits,
            }
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let ids = (id(), id(), name(), any::<u64>());
    let place = (
        select(vec![Scheme::Https, Scheme::Http]),
        host(),
        port(),
        methods(),
        path(),
    );
    let how = (
        vec(injection(), 0..3),
        placeholders(),
        select(vec![Intercept::Always, Intercept::Never]),
        limits(),
    );
    (ids, place, how, any::<(bool, bool, bool)>()).prop_map(
        |((id, vault, name, version), place, (inject, placeholders, intercept, limits), flags)| {
            let (scheme, host, port, methods, path) = place;
            let (enabled, redact, encoded_slash) = flags;
            Service {
                id,
                vault,
                name,
                version,
                enabled,
                scheme,
                host,
                port,
                methods,
                path,
                inject,
                placeholders,
                redact,
                intercept,
                encoded_slash,
                limits,
            }
        },
    )
}

fn credential() -> impl Strategy<Value = Credential> {
    (
        id(),
        id(),
        name(),
        "[A-Za-z0-9_.~-]{4,20}",
        any::<u32>(),
        option::of(sealed()),
    )
        .prop_map(
            |(id, vault, name, placeholder, version, sealed)| Credential {
                id,
                vault,
                name,
                placeholder,
                version,
                sealed,
            },
        )
}

fn destination() -> impl Strategy<Value = Destination> {
    (
        host(),
        port(),
        any::<bool>(),
        option::of(path()),
        methods(),
        surfaces(),
    )
        .prop_map(
            |(host, port, cleartext, path, methods, surfaces)| Destination {
                host,
                port,
                cleartext,
                path,
                methods,
                surfaces,
            },
        )
}

fn grant() -> impl Strategy<Value = Grant> {
    let role = select(vec![VaultRole::User, VaultRole::Editor, VaultRole::Admin]);
    let ends = (id(), id());
    (
        ends,
        role,
        option::of(1..=i64::MAX),
        any::<u64>(),
        (limits(), limits()),
    )
        .prop_map(
            |((vault, agent), role, expires_at, version, (agent_limits, session_limits))| Grant {
                vault,
                agent,
                role,
                expires_at,
                version,
                agent_limits,
                session_limits,
            },
        )
}

fn revocation() -> impl Strategy<Value = Revocation> {
    let subject = prop_oneof![
        id::<SessionId>().prop_map(RevokedSubject::Session),
        (id::<AgentId>(), any::<u64>()).prop_map(|(id, below)| RevokedSubject::Agent(id, below)),
        (id::<VaultId>(), any::<u64>()).prop_map(|(id, below)| RevokedSubject::Vault(id, below)),
        any::<u64>().prop_map(RevokedSubject::Tenant),
        (any::<String>(), any::<u64>()).prop_map(|(user, below)| RevokedSubject::User(user, below)),
        (id::<SessionId>(), any::<u64>()).prop_map(|(id, below)| RevokedSubject::Parent(id, below)),
        (id::<CredentialId>(), any::<u32>())
            .prop_map(|(id, version)| RevokedSubject::Credential(id, version)),
    ];
    (id(), subject, any::<i64>()).prop_map(|(tenant, subject, expires_at)| Revocation {
        tenant,
        subject,
        expires_at,
    })
}

fn verifying_key() -> impl Strategy<Value = VerifyingKey> {
    (name(), any::<[u8; 32]>(), any::<i64>()).prop_map(|(kid, public, not_after)| VerifyingKey {
        kid,
        public,
        not_after,
    })
}

fn tombstone() -> impl Strategy<Value = Tombstone> {
    prop_oneof![
        id::<TenantId>().prop_map(Tombstone::Tenant),
        id::<VaultId>().prop_map(Tombstone::Vault),
        (id(), id::<ServiceId>()).prop_map(|(vault, id)| Tombstone::Service(vault, id)),
        (id(), id::<CredentialId>()).prop_map(|(vault, id)| Tombstone::Credential(vault, id)),
        (id(), id::<AgentId>()).prop_map(|(vault, id)| Tombstone::Grant(vault, id)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let object = prop_oneof![
        tenant().prop_map(Object::Tenant),
        vault().prop_map(Object::Vault),
        service().prop_map(|service| Object::Service(Arc::new(service))),
        credential().prop_map(Object::Credential),
        grant().prop_map(Object::Grant),
        revocation().prop_map(Object::Revocation),
        verifying_key().prop_map(Object::SigningKey),
        tombstone().prop_map(Object::Tombstone),
    ];
    (revision(), object).prop_map(|(revision, object)| Change { revision, object })
}

fn data_key() -> impl Strategy<Value = Arc<SealingKey>> {
    (id::<KeyId>(), any::<u32>(), any::<[u8; 32]>()).prop_map(|(id, version, bytes)| {
        let key = SealingKey::new(KeyRef { id, version }, Secret::new(bytes.to_vec()));
        Arc::new(key.unwrap())
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let services = vec(service().prop_map(Arc::new), 0..3);
    let lists = (
        services,
        vec(credential(), 0..3),
        vec(grant(), 0..3),
        vec(data_key(), 0..3),
    );
    (revision(), vault(), lists).prop_map(
        |(revision, vault, (services, credentials, grants, data_keys))| Snapshot {
            revision,
            vault,
            services,
            credentials,
            grants,
            data_keys,
        },
    )
}

// === There and back ===

/// Through the bytes of `W` and back.
fn back<T, W>(value: &T) -> (T, W)
where
    for<'a> W: Message + Default + Clone + From<&'a T>,
    T: TryFrom<W, Error = Invalid>,
{
    let bytes = W::from(value).encode_to_vec();
    let wire = W::decode(bytes.as_slice()).unwrap();
    (T::try_from(wire.clone()).unwrap(), wire)
}

macro_rules! survives {
    ($($test:ident: $strategy:ident as $wire:ident;)*) => {$(
        proptest! {
            #[test]
            fn $test(value in $strategy()) {
                prop_assert_eq!(back::<_, v1::$wire>(&value).0, value);
            }
        }
    )*};
}

survives! {
    a_tenant_survives: tenant as Tenant;
    a_vault_survives: vault as Vault;
    a_service_survives: service as Service;
    a_credential_survives: credential as Credential;
    a_destination_survives: destination as Destination;
    a_grant_survives: grant as Grant;
    a_revocation_survives: revocation as Revocation;
    a_signing_key_survives: verifying_key as SigningKey;
    a_tombstone_survives: tombstone as Tombstone;
}

proptest! {
    #[test]
    fn a_revision_survives_wire_and_text(value in revision()) {
        prop_assert_eq!(Revision::from(v1::Revision::from(value)), value);
        prop_assert_eq!(value.to_string().parse::<Revision>().unwrap(), value);
    }

    #[test]
    fn a_change_survives(value in change()) {
        let (read, _) = back::<_, v1::Change>(&value);
        prop_assert_eq!(format!("{read:?}"), format!("{value:?}"));
    }

    #[test]
    fn a_snapshot_survives_with_its_keys(value in snapshot()) {
        let (read, wire) = back::<_, v1::VaultSnapshot>(&value);
        prop_assert_eq!(format!("{read:?}"), format!("{value:?}"));
        // A key's Debug shows no bytes: they are compared on the wire.
        assert!(v1::VaultSnapshot::from(&read) == wire);
    }

    #[test]
    fn a_value_survives_with_its_destinations(bytes in vec(any::<u8>(), 0..64), destinations in vec(destination(), 0..3)) {
        let opened = OpenedCredential { value: Secret::new(bytes.clone()), destinations };
        let read = OpenedCredential::from_plain(&opened.to_plain()).unwrap();
        assert!(read.value.same_as(&bytes));
        prop_assert_eq!(read.destinations, opened.destinations);
    }
}

// === What cannot be read ===

/// Reads bytes as everything that a peer may send. Only a panic fails.
fn read_all(bytes: &[u8]) {
    fn read<W: Message + Default, T: TryFrom<W>>(bytes: &[u8]) {
        drop(W::decode(bytes).map(T::try_from));
    }
    read::<v1::Tenant, Tenant>(bytes);
    read::<v1::Vault, Vault>(bytes);
    read::<v1::Service, Service>(bytes);
    read::<v1::Credential, Credential>(bytes);
    read::<v1::Destination, Destination>(bytes);
    read::<v1::Grant, Grant>(bytes);
    read::<v1::Revocation, Revocation>(bytes);
    read::<v1::SigningKey, VerifyingKey>(bytes);
    read::<v1::Tombstone, Tombstone>(bytes);
    read::<v1::DataKey, SealingKey>(bytes);
    read::<v1::Change, Change>(bytes);
    read::<v1::VaultSnapshot, Snapshot>(bytes);
    drop(OpenedCredential::from_plain(&Secret::new(bytes.to_vec())));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..256)) {
        read_all(&bytes);
    }

    #[test]
    fn altered_messages_never_panic(value in snapshot(), at in any::<usize>(), to in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = v1::VaultSnapshot::from(&value).encode_to_vec();
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(at % length.max(1)) {
            *byte = to;
        }
        read_all(&bytes);
        bytes.truncate(cut % (length + 1));
        read_all(&bytes);
    }
}

#[test]
fn a_limit_that_means_nothing_is_refused_and_never_read_as_none() {
    let rate = v1::Rate {
        count: 10,
        per: v1::Period::Second.into(),
        burst: 10,
    };
    let read = |rate: v1::Rate| {
        Limits::try_from(Some(v1::Limits {
            bytes: Some(rate),
            ..v1::Limits::default()
        }))
    };
    assert!(read(rate).is_ok());
    assert_eq!(read(v1::Rate { per: 99, ..rate }), Err(Invalid("rate.per")));
    assert_eq!(read(v1::Rate { per: 0, ..rate }), Err(Invalid("rate.per")));
    assert_eq!(read(v1::Rate { count: 0, ..rate }), Err(Invalid("rate")));
    assert_eq!(read(v1::Rate { burst: 0, ..rate }), Err(Invalid("rate")));
    assert_eq!(Limits::try_from(None), Ok(Limits::default()));
}

#[test]
fn what_is_unknown_is_refused_and_never_read_as_no_restriction() {
    let service = v1::Service {
        id: vec![0; 16],
        vault_id: vec![0; 16],
        scheme: v1::Scheme::Https.into(),
        host: "api.example.com".to_owned(),
        path: "/**".to_owned(),
        intercept: v1::Intercept::Always.into(),
        ..v1::Service::default()
    };
    assert!(Service::try_from(service.clone()).is_ok());
    let unknown_surface = v1::Placeholders {
        credentials: Vec::new(),
        surfaces: vec![99],
    };
    for broken in [
        v1::Service {
            scheme: 99,
            ..service.clone()
        },
        v1::Service {
            scheme: 0,
            ..service.clone()
        },
        v1::Service {
            intercept: 99,
            ..service.clone()
        },
        v1::Service {
            port: 70_000,
            ..service.clone()
        },
        v1::Service {
            host: String::new(),
            ..service.clone()
        },
        v1::Service {
            path: String::new(),
            ..service.clone()
        },
        v1::Service {
            id: vec![0; 15],
            ..service.clone()
        },
        v1::Service {
            inject: vec![v1::Injection { how: None }],
            ..service.clone()
        },
        v1::Service {
            placeholders: Some(unknown_surface),
            ..service
        },
    ] {
        assert!(Service::try_from(broken.clone()).is_err(), "{broken:?}");
    }
    let destination = v1::Destination {
        host: "a.example.com".to_owned(),
        ..v1::Destination::default()
    };
    assert!(Destination::try_from(destination.clone()).is_ok());
    assert!(
        Destination::try_from(v1::Destination {
            surfaces: vec![99],
            ..destination
        })
        .is_err()
    );
    assert!(Change::try_from(v1::Change::default()).is_err());
    assert!(Snapshot::try_from(v1::VaultSnapshot::default()).is_err());
}
