//! The cluster's own authority: gateways' client certificates and this server's certificate.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKey,
};
use rustls_pki_types::CertificateDer;
use sortie_proto::id::GatewayId;
use sortie_proto::secret::Secret;
use time::Duration;
use uuid::Uuid;

use super::{NODE_VALID, named, private_key, valid_for};
use crate::error::{Error, Result};

const ROOT_VALID: Duration = Duration::days(3650);
/// How long this server's certificate is valid. It is made anew long before.
const SERVER_VALID: Duration = Duration::days(30);

/// The open authority.
pub struct ClusterAuthority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for ClusterAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterAuthority(…)")
    }
}

impl ClusterAuthority {
    /// Makes an authority: its certificate in DER, and its private key as PKCS#8.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn generate(cluster: Uuid) -> Result<(Vec<u8>, Secret), rcgen::Error> {
        let pair = KeyPair::generate()?;
        let mut params = named(&format!("Sortie cluster {}", cluster.simple()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, ROOT_VALID);
        let certificate = params.self_signed(&pair)?;
        Ok((
            certificate.der().to_vec(),
            Secret::new(pair.serialize_der()),
        ))
    }

    /// Opens an authority.
    ///
    /// # Errors
    /// If the certificate or the key does not parse.
    pub fn load(certificate: Vec<u8>, private: &Secret) -> Result<Self, rcgen::Error> {
        let certificate = CertificateDer::from(certificate);
        let issuer = Issuer::from_ca_cert_der(&certificate, private_key(private)?)?;
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// The authority's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a gateway's client certificate: its id is the common name, 72 hours.
    ///
    /// # Errors
    /// `internal` if the cryptographic library fails.
    pub fn sign_gateway(
        &self,
        gateway: GatewayId,
        key: &PublicKey,
    ) -> Result<CertificateDer<'static>> {
        let mut params = named(&gateway.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, NODE_VALID);
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(Error::internal)?;
        Ok(certificate.der().clone())
    }

    /// Makes a certificate for this server, for the hosts that gateways dial and for loopback.
    ///
    /// # Errors
    /// `internal` if a host is no name or address, or the cryptographic library fails.
    pub fn server_certificate(
        &self,
        hosts: &[String],
    ) -> Result<(CertificateDer<'static>, KeyPair)> {
        let pair = KeyPair::generate().map_err(Error::internal)?;
        let hosts = hosts.iter().map(|host| host.trim_matches(['[', ']']));
        let mut names = Vec::new();
        for host in hosts.chain(["localhost", "127.0.0.1", "::1"]) {
            if names.iter().all(|name| name != host) {
                names.push(host.to_owned());
            }
        }
        let subject = named("Sortie control");
        let mut params = CertificateParams::new(names).map_err(Error::internal)?;
        params.distinguished_name = subject.distinguished_name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, SERVER_VALID);
        let certificate = params
            .signed_by(&pair, &self.issuer)
            .map_err(Error::internal)?;
        Ok((certificate.der().clone(), pair))
    }
}
