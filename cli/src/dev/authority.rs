//! A certificate authority for one certificate: the demo upstream's, or that of the gateway's port.
//!
//! Invariant: the authority's own key signs once, in memory, and is dropped.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use sortie_proto::secret::Secret;

use crate::error::{Error, Result};

/// An authority and the certificate that it signed.
pub(super) struct Authority {
    pem: String,
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes both. `hosts` are the names and addresses that the certificate is for.
    pub(super) fn make(name: &str, hosts: &[&str]) -> Result<Self> {
        make(name, hosts).map_err(|error| {
            Error::failed(
                format!(
                    "the certificate for {} cannot be made: {error}",
                    hosts.join(", ")
                ),
                "This is a defect: please report it.",
            )
        })
    }

    /// The authority's certificate, which clients must trust.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate that it signed.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The same, in PEM.
    pub(super) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// That one's key, in PKCS#8.
    pub(super) fn key(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// The same, in PEM.
    pub(super) fn key_pem(&self) -> Secret {
        Secret::new(self.key.serialize_pem().into_bytes())
    }
}

fn make(name: &str, hosts: &[&str]) -> std::result::Result<Authority, rcgen::Error> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, name);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let root_key = KeyPair::generate()?;
    let pem = root.self_signed(&root_key)?.pem();

    let names: Vec<_> = hosts.iter().copied().map(str::to_owned).collect();
    let mut leaf = CertificateParams::new(names)?;
    if let Some(first) = hosts.first() {
        leaf.distinguished_name.push(DnType::CommonName, *first);
    }
    leaf.use_authority_key_identifier_extension = true;
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(root, root_key))?;
    Ok(Authority {
        pem,
        certificate,
        key,
    })
}
