//! What the command may trust: the system's roots and the tenant's authority, as programs want to read them, in a
//! private folder.
//!
//! Invariant: roots are added, never taken away: hosts that the gateway tunnels untouched show their own certificates.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sortie_proto::environment::{Files, TRUST_STORE_PASSWORD};
use tempfile::TempDir;

use crate::config;
use crate::error::{Error, Result};

/// The tenant's authority alone, in PEM.
pub(crate) const AUTHORITY: &str = "ca.pem";
/// The system's roots and the tenant's authority, in PEM.
pub(crate) const BUNDLE: &str = "bundle.pem";
/// The same in PKCS#12, for Java.
pub(crate) const STORE: &str = "trust.p12";

/// How often a password is hashed before it opens the store. There is nothing in it to protect, and every JVM waits.
const ITERATIONS: u16 = 1024;

/// What a command may trust, in each form.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) authority: String,
    pub(crate) bundle: String,
    pub(crate) store: Vec<u8>,
}

impl Trust {
    /// Reads the system's roots and adds the authority, which is in PEM.
    ///
    /// # Errors
    /// [`Error::Failed`] if the authority is no certificate.
    pub(crate) fn new(authority: &str) -> Result<Self> {
        let own: Vec<_> = CertificateDer::pem_slice_iter(authority.as_bytes())
            .filter_map(std::result::Result::ok)
            .collect();
        if own.is_empty() {
            return Err(Error::failed(
                "there is no certificate of the tenant's authority",
                "Are control and gateway of the same version? Is it the right file?",
            ));
        }
        // Roots that cannot be read are left out: without them some hosts fail, and fail closed.
        let roots = rustls_native_certs::load_native_certs().certs;
        Ok(Self {
            authority: authority.to_owned(),
            bundle: bundle(authority, &roots),
            store: store(own.iter().chain(&roots))?,
        })
    }

    /// Where the forms stand in a folder, which need not be on this machine.
    pub(crate) fn files(folder: &str) -> Files {
        let file = |name: &str| format!("{}/{name}", folder.trim_end_matches('/'));
        Files {
            authority: file(AUTHORITY),
            bundle: file(BUNDLE),
            trust_store: Some(file(STORE)),
        }
    }
}

/// A private folder for what a command reads.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// It goes when this is dropped.
    temporary: Option<TempDir>,
}

impl Folder {
    /// Makes one that goes when it is dropped.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn temporary() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sortie-run-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|source| Error::system("make a private folder", source))?;
        Ok(Self {
            path: folder.path().to_owned(),
            temporary: Some(folder),
        })
    }

    /// Takes a folder that stays, and makes it if it is not there.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Config`] if others may write to it: they would choose what is trusted.
    pub(crate) fn lasting(path: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| Error::file("make", path, source))?;
        let path = path
            .canonicalize()
            .map_err(|source| Error::file("find", path, source))?;
        let about = fs::metadata(&path).map_err(|source| Error::file("look at", &path, source))?;
        if about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o022 != 0 {
            return Err(Error::Config(format!(
                "{} is another user's, or others may write to it: name a folder of your own",
                path.display()
            )));
        }
        Ok(Self {
            path,
            temporary: None,
        })
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that no variable can hold as text.
    pub(crate) fn path(&self) -> Result<&str> {
        self.path.to_str().ok_or_else(|| {
            Error::Config(format!("{} is not UTF-8: set TMPDIR", self.path.display()))
        })
    }

    /// Writes the certificates.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn write(&self, trust: &Trust) -> Result<()> {
        self.put(AUTHORITY, trust.authority.as_bytes())?;
        self.put(BUNDLE, trust.bundle.as_bytes())?;
        self.put(STORE, &trust.store)
    }

    /// Writes a file below it, which only its owner may read.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(|source| Error::file("make", parent, source))?;
        }
        config::write_private(&path, bytes)
    }

    /// Removes it now, if it does not stay.
    pub(crate) fn close(self) {
        // Below the system's temporary folder what is left over goes by itself.
        drop(self.temporary.map(TempDir::close));
    }
}

/// The tenant's authority stands first: a reader that stops early has at least what the gateway shows.
fn bundle(authority: &str, roots: &[CertificateDer<'_>]) -> String {
    let mut text = authority.trim_end().to_owned();
    text.push('\n');
    for root in roots {
        text.push_str(&pem(root));
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

/// Java takes a certificate of a PKCS#12 store for a root only with Oracle's attribute `trustedKeyUsage`, which the
/// writer gives to entries without a key.
fn store<'a>(certificates: impl Iterator<Item = &'a CertificateDer<'a>>) -> Result<Vec<u8>> {
    let mut store = KeyStore::new();
    for (at, der) in certificates.enumerate() {
        // One that this reader does not understand is left out, as above.
        if let Ok(certificate) = Certificate::from_der(der) {
            store.add_entry(
                &format!("root-{at}"),
                KeyStoreEntry::Certificate(certificate),
            );
        }
    }
    store
        .writer(TRUST_STORE_PASSWORD)
        .encryption_iterations(ITERATIONS.into())
        .mac_iterations(ITERATIONS.into())
        .write()
        .map_err(|error| {
            Error::failed(
                format!("the trust store for Java cannot be made: {error}"),
                "Please report this with the system's list of roots.",
            )
        })
}

#[cfg(test)]
mod tests;
