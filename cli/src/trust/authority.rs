//! The authority that is put into stores, and the name that it has there.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certificate::Authority;
use crate::config;
use crate::error::{Error, Result};

/// What all names start with.
pub(super) const PREFIX: &str = "sortie-";

/// An authority with its name, `sortie-TENANT-FINGERPRINT`.
#[derive(Debug)]
pub(super) struct Named {
    /// The name: lower-case letters, digits, `-` and `_`.
    pub(super) name: String,
    /// The certificate alone.
    pub(super) pem: String,
    file: Option<PathBuf>,
}

impl Named {
    /// Reads a tenant's authority, from a file if that is known.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is none: nothing else is put into stores.
    pub(super) fn read(text: &str, file: Option<PathBuf>) -> Result<Self> {
        let refused = || {
            Error::failed(
                "this is no tenant's authority of Sortie",
                "`sortie trust install` without --authority asks control for it.",
            )
        };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).or(Err(refused()))?;
        let authority = Authority::read(&der).ok_or_else(refused)?;
        let tenant = authority.name.strip_prefix("Sortie ");
        let tenant: String = tenant
            .unwrap_or(&authority.name)
            .to_ascii_lowercase()
            .chars()
            .map(|c| match c {
                'a'..='z' | '0'..='9' | '_' => c,
                _ => '-',
            })
            .collect();
        let start = text.find("-----BEGIN").unwrap_or(0);
        const END: &str = "-----END CERTIFICATE-----";
        let end = text.find(END).map_or(text.len(), |at| at + END.len());
        Ok(Self {
            name: format!("{PREFIX}{tenant}-{}", authority.short()),
            pem: format!("{}\n", text.get(start..end).unwrap_or(text)),
            file,
        })
    }

    /// A file that holds it: the one that it came from, or one that is kept for whoever runs this again as root.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Config`] without a home.
    pub(super) fn file(&self) -> Result<PathBuf> {
        if let Some(file) = &self.file {
            return std::path::absolute(file).map_err(|source| Error::file("find", file, source));
        }
        let folder = config::data_folder()?.join("authorities");
        std::fs::create_dir_all(&folder).map_err(|source| Error::file("make", &folder, source))?;
        let path = folder.join(format!("{}.pem", self.name));
        config::write_private(&path, self.pem.as_bytes())?;
        Ok(path)
    }
}

/// Whether a name is one of ours: `sortie-` and a fingerprint of 16 digits at its end.
pub(super) fn is_ours(name: &str) -> bool {
    let Some((tenant, print)) = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.rsplit_once('-'))
    else {
        return false;
    };
    !tenant.is_empty() && print.len() == 16 && print.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
