//! A P-256 key of this node, from BoringSSL, that rcgen can sign with.
//!
//! The library that rcgen brings hashes key identifiers and does nothing else: keys are made, and sign, where the data
//! path has them.

use std::fmt;

use boring::bn::BigNumContext;
use boring::ec::{EcGroup, EcKey, PointConversionForm};
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::sign::Signer;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use sortie_proto::secret::Secret;

/// A P-256 private key (FIPS 186-5), for ECDSA with SHA-256.
pub struct P256Key {
    key: PKey<Private>,
    /// The public point, uncompressed (SEC 1, 2.3.3).
    point: Vec<u8>,
}

/// A key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("not a usable P-256 key")]
pub struct InvalidKey(#[source] Option<ErrorStack>);

impl From<ErrorStack> for InvalidKey {
    fn from(cause: ErrorStack) -> Self {
        Self(Some(cause))
    }
}

impl P256Key {
    /// Makes a new key.
    ///
    /// # Errors
    /// When BoringSSL has no random numbers.
    pub fn generate() -> Result<Self, InvalidKey> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        Self::new(EcKey::generate(&group)?)
    }

    /// Reads PKCS#8 in PEM (RFC 7468).
    ///
    /// # Errors
    /// When it is not a private key on P-256.
    pub fn from_pem(pem: &Secret) -> Result<Self, InvalidKey> {
        let key = PKey::private_key_from_pem(pem.expose())?.ec_key()?;
        Self::new(key)
    }

    fn new(key: EcKey<Private>) -> Result<Self, InvalidKey> {
        if key.group().curve_name() != Some(Nid::X9_62_PRIME256V1) {
            return Err(InvalidKey(None));
        }
        let mut context = BigNumContext::new()?;
        let form = PointConversionForm::UNCOMPRESSED;
        let point = key.public_key().to_bytes(key.group(), form, &mut context)?;
        Ok(Self {
            key: PKey::from_ec_key(key)?,
            point,
        })
    }

    /// PKCS#8 in PEM.
    ///
    /// # Errors
    /// When BoringSSL runs out of memory.
    pub fn to_pem(&self) -> Result<Secret, InvalidKey> {
        Ok(Secret::new(self.key.private_key_to_pem_pkcs8()?))
    }

    /// Asks for a certificate of this key (PKCS#10, RFC 2986, in DER). Control decides the subject and everything else.
    ///
    /// # Errors
    /// When BoringSSL cannot sign.
    pub fn certificate_request(&self, common_name: &str) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        Ok(params.serialize_request(self)?.der().to_vec())
    }

    /// The key, for BoringSSL's own use in a handshake.
    #[must_use]
    pub const fn pkey(&self) -> &PKey<Private> {
        &self.key
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P256Key(…)")
    }
}

impl PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Signer::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
            .or(Err(rcgen::Error::RemoteKeyError))
    }
}
