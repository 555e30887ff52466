//! A tenant's authority: its root, which agents trust, and the intermediates that nodes mint leaves with.
//!
//! The root's private key is opened for one signature at a time and never leaves control. An intermediate is for a
//! key that the node made, has path length 0 and ends after 72 hours.

use std::fmt::Write;

use rcgen::{BasicConstraints, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use sortie_proto::code::Code;
use sortie_proto::id::{GatewayId, TenantId};
use sortie_proto::sealed::{Place, Purpose, SealingKey};
use sortie_proto::secret::Secret;
use time::Duration;

use super::{NODE_VALID, named, private_key, valid_for};
use crate::database::Transaction;
use crate::database::keys::{StoredAuthority, authority, insert_authority};
use crate::error::{Error, Result};
use crate::seal::Keys;

const ROOT_VALID: Duration = Duration::days(3650);

/// What an agent must trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The certificate.
    pub pem: String,
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// Its end, in seconds since the Unix epoch.
    pub not_after: i64,
}

/// A tenant's root, for agents to trust.
///
/// # Errors
/// `not_found` if there is no such tenant.
pub async fn root_pem(tx: &Transaction, tenant: TenantId) -> Result<Root> {
    let stored = authority(tx, tenant)
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    let mut fingerprint_sha256 = String::with_capacity(64);
    for byte in Sha256::digest(&stored.certificate) {
        // Writing to a string does not fail.
        let _written = write!(fingerprint_sha256, "{byte:02x}");
    }
    Ok(Root {
        pem: to_pem(&stored.certificate),
        fingerprint_sha256,
        not_after: stored.not_after,
    })
}

/// A certificate as PEM.
pub(crate) fn to_pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    // RFC 7468 wants lines of 64.
    while let Some((line, more)) = rest.split_at_checked(64) {
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        pem.push_str(rest);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Makes a tenant's root, sealed under the tenant's key.
pub(crate) async fn create(tx: &Transaction, tenant: TenantId, key: &SealingKey) -> Result<()> {
    let pair = KeyPair::generate().map_err(Error::internal)?;
    let mut params = named(&format!("Sortie {tenant}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, ROOT_VALID);
    let certificate = params.self_signed(&pair).map_err(Error::internal)?;
    let private = Secret::new(pair.serialize_der());
    let stored = StoredAuthority {
        certificate: certificate.der().to_vec(),
        not_after: params.not_after.unix_timestamp(),
        sealed: key.seal(place(&[tenant.uuid()]), private.expose()),
    };
    insert_authority(tx, tenant, &stored).await
}

/// An intermediate of a tenant's authority.
#[derive(Debug)]
pub struct Intermediate {
    /// DER.
    pub certificate: CertificateDer<'static>,
    /// The tenant's root, DER.
    pub root: Vec<u8>,
}

/// Signs a node's intermediate of a tenant's authority.
///
/// # Errors
/// `not_found` if there is no such tenant.
pub async fn sign_intermediate(
    tx: &Transaction,
    keys: &Keys,
    (tenant, gateway): (TenantId, GatewayId),
    key: &PublicKey,
) -> Result<Intermediate> {
    let stored = authority(tx, tenant)
        .await?
        .ok_or(Error::new(Code::NotFound))?;
    let above = keys.tenant(tx, tenant).await?;
    let private = above.open(place(&[tenant.uuid()]), &stored.sealed)?;
    let root = CertificateDer::from(stored.certificate);
    let pair = private_key(&private).map_err(Error::internal)?;
    let issuer = Issuer::from_ca_cert_der(&root, pair).map_err(Error::internal)?;
    let mut params = named(&format!("Sortie {gateway}"));
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, tenant.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, NODE_VALID);
    let certificate = params.signed_by(key, &issuer).map_err(Error::internal)?;
    Ok(Intermediate {
        certificate: certificate.der().clone(),
        root: root.to_vec(),
    })
}

const fn place(ids: &[uuid::Uuid]) -> Place<'_> {
    Place {
        purpose: Purpose::TenantAuthority,
        ids,
        version: 0,
    }
}
