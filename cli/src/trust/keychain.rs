//! The system's store on macOS: the System keychain.

use super::authority::{Named, is_ours};
use super::{Kind, Store, program};
use crate::certificate::Authority;
use crate::error::{Error, Result};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// The System keychain. There a certificate has no name but its own, so ours are found by what they hold.
#[derive(Debug)]
pub(super) struct Keychain;

impl Keychain {
    /// All authorities of Sortie there.
    fn authorities() -> Vec<Named> {
        // It fails if there is none.
        let found = program::run(
            "security",
            &["find-certificate", "-a", "-p", "-c", "Sortie", KEYCHAIN],
        );
        let text = found.unwrap_or_default();
        const END: &str = "-----END CERTIFICATE-----";
        text.split_inclusive(END)
            .filter(|pem| {
                CertificateDer::from_pem_slice(pem.as_bytes())
                    .is_ok_and(|der| Authority::read(&der).is_some())
            })
            .filter_map(|pem| Named::read(pem, None).ok())
            .collect()
    }
}

impl Store for Keychain {
    fn kind(&self) -> Kind {
        Kind::System
    }

    fn place(&self) -> String {
        KEYCHAIN.to_owned()
    }

    fn does(&self) -> String {
        format!("{KEYCHAIN}, with `security add-trusted-cert`")
    }

    fn is_writable(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    fn names(&self) -> Result<Vec<String>> {
        let found = Self::authorities().into_iter().map(|named| named.name);
        Ok(found.filter(|name| is_ours(name)).collect())
    }

    fn install(&self, named: &Named) -> Result<()> {
        let file = named.file()?.display().to_string();
        let arguments = [
            "add-trusted-cert",
            "-d",
            "-r",
            "trustRoot",
            "-k",
            KEYCHAIN,
            &file,
        ];
        program::run("security", &arguments).map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let found = Self::authorities()
            .into_iter()
            .find(|named| named.name == name);
        let named = found.ok_or_else(|| {
            Error::failed(
                format!("{name} is not in {KEYCHAIN}"),
                "It may have been removed by hand.",
            )
        })?;
        let file = named.file()?.display().to_string();
        program::run("security", &["remove-trusted-cert", "-d", &file])?;
        let der = CertificateDer::from_pem_slice(named.pem.as_bytes());
        let print = der
            .map(|der| crate::certificate::fingerprint(&der))
            .unwrap_or_default();
        program::run("security", &["delete-certificate", "-Z", &print, KEYCHAIN]).map(drop)
    }
}
