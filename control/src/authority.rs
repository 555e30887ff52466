//! Certificate authorities: the cluster's own, for gateways and this server, and one for each tenant.
//!
//! P-256 throughout. Nothing that a certificate request asks for is granted but its key: names and uses are ours.

pub mod cluster;
pub mod tenant;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, KeyPair,
    PublicKey,
};
use rustls_pki_types::CertificateSigningRequestDer;
use sortie_proto::secret::Secret;
use time::{Duration, OffsetDateTime};

use crate::error::{Error, Result};

/// How long a gateway's certificate and its intermediates are valid.
pub const NODE_VALID: Duration = Duration::hours(72);
/// How much earlier than now a certificate begins, for clocks that are behind.
const SKEW: Duration = Duration::minutes(5);
/// The largest certificate request that is looked at, in bytes.
const REQUEST_MAX: usize = 8 * 1024;

/// The key of a certificate request whose signature shows that the sender holds the private half. P-256 only.
///
/// # Errors
/// `invalid_argument` for anything else.
pub fn requested_key(der: &[u8]) -> Result<PublicKey> {
    let refused = || {
        Error::invalid(
            "certificate_request",
            "is not a PKCS#10 request for a P-256 key",
        )
    };
    if der.len() > REQUEST_MAX {
        return Err(refused());
    }
    let der = CertificateSigningRequestDer::from(der);
    let request = CertificateSigningRequestParams::from_der(&der)
        .map_err(|error| refused().caused_by(error))?;
    if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(refused());
    }
    Ok(request.public_key)
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Sortie");
    params
}

fn valid_for(params: &mut CertificateParams, duration: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now.saturating_sub(SKEW);
    params.not_after = now.saturating_add(duration);
}

/// Reads a private key that [`KeyPair::serialize_der`] wrote.
fn private_key(pkcs8: &Secret) -> Result<KeyPair, rcgen::Error> {
    KeyPair::try_from(pkcs8.expose())
}
