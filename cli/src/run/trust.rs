//! What the command may trust: the system's roots and the tenant's authority, in one bundle in a private folder.
//!
//! Invariant: roots are added, never taken away: hosts that the gateway tunnels untouched show their own certificates.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::config;
use crate::error::{Error, Result};

/// A private folder with the certificates; it goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// Makes it.
    ///
    /// # Errors
    /// [`Error::Failed`] if the authority is no certificate, and [`Error::File`].
    pub(crate) fn make(authority: &str) -> Result<Self> {
        if CertificateDer::from_pem_slice(authority.as_bytes()).is_err() {
            return Err(Error::failed(
                "control's answer holds no certificate of the tenant's authority",
                "Is control of the same version?",
            ));
        }
        let folder = tempfile::Builder::new()
            .prefix("sortie-run-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|source| Error::system("make a private folder", source))?;
        let made = Self { folder };
        config::write_private(&made.authority(), authority.as_bytes())?;
        config::write_private(&made.bundle(), bundle(authority).as_bytes())?;
        Ok(made)
    }

    /// The tenant's authority alone.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// The system's roots and the tenant's authority.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.path().join("bundle.pem")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The tenant's authority stands first: a reader that stops early has at least what the gateway shows.
fn bundle(authority: &str) -> String {
    let mut text = authority.trim_end().to_owned();
    text.push('\n');
    // Roots that cannot be read are left out: without them some hosts fail, and fail closed.
    for root in rustls_native_certs::load_native_certs().certs {
        text.push_str(&pem(&root));
    }
    text
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests;
