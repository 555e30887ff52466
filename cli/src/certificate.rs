//! Reads certificates: what a file of roots holds, and which of them are a tenant's authority.

use std::fs;
use std::io;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// Control names itself so in every authority that it makes.
const ORGANIZATION: &str = "Sortie";
/// The longest file of roots that is read, in bytes; those of systems have less than one million.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// A tenant's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Its common name, e.g. `Sortie ten_…`.
    pub(crate) name: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: String,
    /// From when to when it is valid, in seconds since the Unix epoch.
    pub(crate) valid: std::ops::RangeInclusive<i64>,
}

impl Authority {
    /// Reads a certificate; `None` if it is not a tenant's authority.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        if !parsed.is_ca() || !is_ours(parsed.subject()) {
            return None;
        }
        let validity = parsed.validity();
        Some(Self {
            name: common_name(parsed.subject()),
            fingerprint: fingerprint(der),
            valid: validity.not_before.timestamp()..=validity.not_after.timestamp(),
        })
    }

    /// The start of the fingerprint: enough to tell authorities apart.
    pub(crate) fn short(&self) -> &str {
        self.fingerprint
            .get(..16)
            .unwrap_or(self.fingerprint.as_str())
    }
}

/// SHA-256 of a certificate, in hexadecimal.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> String {
    Sha256::digest(der)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Who signed a certificate, by common name, and whether that is Sortie.
pub(crate) fn issuer(der: &CertificateDer<'_>) -> Option<(String, bool)> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some((common_name(parsed.issuer()), is_ours(parsed.issuer())))
}

/// All certificates of a file in PEM. Other things in it, and certificates that cannot be read, are left out.
///
/// # Errors
/// If the file cannot be read, or is longer than any file of roots.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    if fs::metadata(path)?.len() > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = fs::read(path)?;
    Ok(CertificateDer::pem_slice_iter(&bytes)
        .filter_map(Result::ok)
        .collect())
}

/// Whether a file holds a tenant's authority.
pub(crate) fn holds_authority(path: &Path) -> bool {
    read_file(path).is_ok_and(|found| found.iter().any(|der| Authority::read(der).is_some()))
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name()
        .find_map(|attribute| attribute.as_str().ok())
        .map_or_else(|| name.to_string(), str::to_owned)
}

fn is_ours(name: &X509Name<'_>) -> bool {
    name.iter_organization()
        .any(|attribute| attribute.as_str() == Ok(ORGANIZATION))
}

#[cfg(test)]
pub(crate) mod tests;
