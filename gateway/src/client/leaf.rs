//! Leaf certificates for the hosts that agents reach, under this node's intermediate of the agent's tenant.
//!
//! The intermediate's key and the leaves' key are made here and never leave the process; control signs the intermediate
//! for 72 h and it is renewed after 24. A leaf costs one signature, lives a day at most and never past its intermediate,
//! and is good for one host and for servers only.
//!
//! Not here: whether the host is one that an agent may reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use boring::asn1::Asn1Time;
use boring::error::ErrorStack;
use boring::pkey::{PKey, Private};
use boring::x509::X509;
use moka::future::Cache;
use prometheus::IntCounter;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::id::TenantId;
use time::OffsetDateTime;

use crate::client::authenticate::Caller;
use crate::clock;
use crate::error::{Error, Result};
use crate::p256::{InvalidKey, P256Key};
use crate::snapshot::link::{Link, SignedIntermediate};

/// The longest life of a leaf, in seconds.
const LEAF_SECONDS: i64 = 24 * 60 * 60;
/// How much earlier than now a leaf is valid, for clients whose clocks are behind, in seconds.
const BACKDATE_SECONDS: i64 = 60 * 60;
/// A leaf or an intermediate with less to live than this is not used any more, in seconds.
const MARGIN_SECONDS: i64 = 5 * 60;
/// How long after a failed renewal the next one is tried, in seconds.
const RETRY_SECONDS: i64 = 60;
/// The longest common name (RFC 5280, appendix A.1).
const COMMON_NAME_MAX: usize = 64;
/// What an intermediate's request calls itself.
const REQUESTER: &str = "Sortie gateway";

/// How many certificates are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most leaves that are kept; others are signed again.
    pub leaves_max: u64,
    /// The most tenants whose intermediates are kept.
    pub tenants_max: u64,
    /// The age after which an intermediate is renewed.
    pub renew_after: Duration,
}

/// A certificate for a host, with its key and its chain.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf.
    pub certificate: X509,
    /// The intermediate, sent with it.
    pub intermediate: X509,
    /// The leaf's key.
    pub key: PKey<Private>,
    /// When it ends, in seconds since the Unix epoch.
    pub not_after: i64,
}

/// This node's intermediate of a tenant.
#[derive(Debug)]
struct Issuer {
    certificate: X509,
    signer: rcgen::Issuer<'static, P256Key>,
    /// The tenant's root, DER.
    root: Vec<u8>,
    /// One key for all leaves of the tenant: minting is then one signature.
    leaf_key: P256Key,
    /// Seconds since the Unix epoch.
    not_after: i64,
    /// When to renew it, or to try again.
    renew_at: AtomicI64,
}

/// Mints and keeps leaves.
#[derive(Debug)]
pub struct Leaves {
    leaves: Cache<(TenantId, Host), Arc<Leaf>>,
    issuers: Cache<TenantId, Arc<Issuer>>,
    renew_after: i64,
    link: Link,
    minted: IntCounter,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("BoringSSL refused")]
    Crypto(#[from] ErrorStack),
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error("a certificate or a request for one could not be written")]
    Certificate(#[from] rcgen::Error),
    #[error("the clock or the host cannot be written into a certificate")]
    Field,
    #[error("the intermediate that control sent is not for this node's key, or ends too soon")]
    Unfit,
}

impl Leaves {
    /// Makes one that holds nothing.
    #[must_use]
    pub fn new(config: &Config, link: Link, minted: IntCounter) -> Self {
        Self {
            leaves: Cache::new(config.leaves_max),
            issuers: Cache::new(config.tenants_max),
            renew_after: i64::try_from(config.renew_after.as_secs()).unwrap_or(LEAF_SECONDS),
            link,
            minted,
        }
    }

    /// Whether a leaf for this host is at hand.
    #[must_use]
    pub fn holds(&self, caller: &Caller, host: &Host) -> bool {
        self.leaves
            .contains_key(&(caller.claims().tenant, host.clone()))
    }

    /// A leaf for a host: from the pool, or signed at once.
    ///
    /// # Errors
    /// `vault_unavailable` when there is no intermediate and control does not sign one; `internal`.
    pub async fn get(&self, caller: &Caller, host: &Host) -> Result<Arc<Leaf>> {
        let now = clock::seconds();
        let key = (caller.claims().tenant, host.clone());
        if let Some(leaf) = self.leaves.get(&key).await {
            if leaf.not_after - MARGIN_SECONDS > now {
                return Ok(leaf);
            }
            self.leaves.invalidate(&key).await;
        }
        let issuer = self.issuer(caller, now).await?;
        self.leaves
            .try_get_with(key, async {
                self.minted.inc();
                issuer.mint(host, now).map(Arc::new)
            })
            .await
            .map_err(|failed| Error::because(Code::Internal, failed))
    }

    /// The root that a caller's clients have to trust, as PEM.
    ///
    /// # Errors
    /// `vault_unavailable` when control has signed nothing for the tenant here, and does not now; `internal`.
    pub async fn root_pem(&self, caller: &Caller) -> Result<Vec<u8>> {
        let issuer = self.issuer(caller, clock::seconds()).await?;
        X509::from_der(&issuer.root)
            .and_then(|root| root.to_pem())
            .map_err(|error| Error::because(Code::Internal, error))
    }

    async fn issuer(&self, caller: &Caller, now: i64) -> Result<Arc<Issuer>> {
        let tenant = caller.claims().tenant;
        if let Some(issuer) = self.issuers.get(&tenant).await {
            let due = issuer.renew_at.load(Ordering::Acquire);
            let alive = issuer.not_after - MARGIN_SECONDS > now;
            // Whoever moves the time on renews; the others go on with what there is.
            let mine = due <= now
                && issuer
                    .renew_at
                    .compare_exchange(
                        due,
                        now + RETRY_SECONDS,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                    .is_ok();
            if alive && !mine {
                return Ok(issuer);
            }
            match self.sign(caller, now).await {
                Ok(renewed) => {
                    self.issuers.insert(tenant, renewed.clone()).await;
                    return Ok(renewed);
                }
                Err(error) if alive => {
                    tracing::warn!(tenant.id = %tenant, code = %error.code(),
                        "the intermediate could not be renewed; it will be tried again");
                    return Ok(issuer);
                }
                Err(error) => return Err(error),
            }
        }
        self.issuers
            .try_get_with(tenant, self.sign(caller, now))
            .await
            .map_err(|error| Error::from(error.code()))
    }

    async fn sign(&self, caller: &Caller, now: i64) -> Result<Arc<Issuer>> {
        let internal = |error: NotMade| Error::because(Code::Internal, error);
        let (key, request) = key_and_request().map_err(internal)?;
        let signed = self
            .link
            .sign_intermediate(caller.claims().tenant, &caller.latest().token, request)
            .await?;
        Issuer::new(&signed, key, now + self.renew_after)
            .map(Arc::new)
            .map_err(internal)
    }
}

impl Issuer {
    fn new(
        signed: &SignedIntermediate,
        key: P256Key,
        renew_at: i64,
    ) -> std::result::Result<Self, NotMade> {
        let certificate = X509::from_der(&signed.certificate)?;
        if !certificate.public_key()?.public_eq(key.pkey()) {
            return Err(NotMade::Unfit);
        }
        let epoch = Asn1Time::from_unix(0)?;
        let life = epoch.diff(certificate.not_after())?;
        let not_after = i64::from(life.days) * 86_400 + i64::from(life.secs);
        let der = CertificateDer::from(signed.certificate.as_slice());
        Ok(Self {
            certificate,
            signer: rcgen::Issuer::from_ca_cert_der(&der, key)?,
            root: signed.root.clone(),
            leaf_key: P256Key::generate()?,
            not_after,
            renew_at: AtomicI64::new(renew_at),
        })
    }

    fn mint(&self, host: &Host, now: i64) -> std::result::Result<Leaf, NotMade> {
        let not_after = self.not_after.min(now + LEAF_SECONDS);
        if not_after - MARGIN_SECONDS <= now {
            return Err(NotMade::Unfit);
        }
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial());
        params.not_before = time(now - BACKDATE_SECONDS)?;
        params.not_after = time(not_after)?;
        params.distinguished_name = subject(host);
        params.subject_alt_names = vec![alternative(host)?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.leaf_key, &self.signer)?;
        Ok(Leaf {
            certificate: X509::from_der(certificate.der())?,
            intermediate: self.certificate.clone(),
            key: self.leaf_key.pkey().clone(),
            not_after,
        })
    }
}

/// A new key and a request for its intermediate.
fn key_and_request() -> std::result::Result<(P256Key, Vec<u8>), NotMade> {
    let key = P256Key::generate()?;
    let request = key.certificate_request(REQUESTER)?;
    Ok((key, request))
}

/// 127 random bits: positive and at most 16 bytes (RFC 5280, 4.1.2.2).
fn serial() -> SerialNumber {
    let number = rand::random::<u128>() >> 1;
    SerialNumber::from_slice(&number.to_be_bytes())
}

fn time(seconds: i64) -> std::result::Result<OffsetDateTime, NotMade> {
    OffsetDateTime::from_unix_timestamp(seconds).or(Err(NotMade::Field))
}

fn alternative(host: &Host) -> std::result::Result<SanType, NotMade> {
    Ok(match host {
        Host::Name(name) => {
            let name = Ia5String::try_from(name.to_string()).or(Err(NotMade::Field))?;
            SanType::DnsName(name)
        }
        Host::Address(address) => SanType::IpAddress(*address),
    })
}

fn subject(host: &Host) -> DistinguishedName {
    let text = match host {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    };
    // Clients go by the alternative name; a longer host has no common name that it would fit in.
    let fits = text.len() <= COMMON_NAME_MAX;
    let common = if fits { text.as_str() } else { "sortie" };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests;
