//! The roots that upstreams are verified against: the system's and the configured ones, in one file for Pingora.
//!
//! Pingora reads one file when a proxy is made. A set per vault would have to be part of the pool's key; this one is the
//! same for all.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Why there is no set of roots.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured file is not PEM certificates.
    #[error("{0} holds no PEM certificate")]
    Empty(PathBuf),
    /// A configured file cannot be read as PEM.
    #[error("{0} cannot be read as PEM")]
    Pem(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// There are no roots at all: nothing would ever verify.
    #[error("there are no system roots, and upstream.extra_roots names none")]
    None,
    /// The file cannot be written.
    #[error("{0} cannot be written")]
    Write(PathBuf, #[source] io::Error),
}

/// Writes the set to a file in the data folder and says where.
///
/// # Errors
/// [`Error`]
pub fn write(data_dir: &Path, extra: &[PathBuf]) -> Result<PathBuf, Error> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's roots cannot be read");
    }
    let mut roots = system.certs;
    for path in extra {
        let unread = |error| Error::Pem(path.clone(), error);
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
            roots.push(certificate.map_err(unread)?);
        }
        if roots.len() == before {
            return Err(Error::Empty(path.clone()));
        }
    }
    if roots.is_empty() {
        return Err(Error::None);
    }
    let path = data_dir.join("roots.pem");
    let written = std::fs::create_dir_all(data_dir).and_then(|()| replace(&path, &roots));
    written.map_err(|error| Error::Write(path.clone(), error))?;
    Ok(path)
}

fn replace(path: &Path, roots: &[CertificateDer<'_>]) -> io::Result<()> {
    // Named after the process: during an upgrade there are two of one node.
    let next = path.with_extension(format!("{}.next", std::process::id()));
    let mut file = std::fs::File::create(&next)?;
    for root in roots {
        file.write_all(b"-----BEGIN CERTIFICATE-----\n")?;
        for line in STANDARD.encode(root).as_bytes().chunks(64) {
            file.write_all(line)?;
            file.write_all(b"\n")?;
        }
        file.write_all(b"-----END CERTIFICATE-----\n")?;
    }
    file.sync_all()?;
    std::fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pem");
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(
            write(folder.path(), &[path]),
            Err(Error::Empty(_))
        ));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let root = CertificateDer::from(vec![7; 200]);
        replace(&path, std::slice::from_ref(&root)).unwrap();
        let read: Vec<_> = CertificateDer::pem_file_iter(&path)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, [root]);
    }
}
