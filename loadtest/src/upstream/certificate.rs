//! The upstream's authority and its certificate.
//!
//! The authority's key lies in a folder and is used again by the next start, so that a client that trusts `ca.pem`
//! goes on trusting it.

use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// It is signed by itself.
    Untrusted,
    /// It ended long ago.
    Expired,
    /// It is for another name.
    WrongName,
}

/// Makes the configuration of a TLS listener, and the authority if the folder has none.
///
/// # Errors
/// When the folder cannot be written or holds a key that cannot be used.
pub fn server_config(
    folder: &Path,
    names: &[String],
    fault: Option<Fault>,
    http1: bool,
) -> Result<ServerConfig> {
    let issuer = authority(folder)?;
    let key = KeyPair::generate()?;
    let params = leaf_params(names, fault)?;
    let leaf = if fault == Some(Fault::Untrusted) {
        params.self_signed(&key)?
    } else {
        params.signed_by(&key, &issuer)?
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(crate::client::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = if http1 {
        vec![b"http/1.1".to_vec()]
    } else {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    };
    Ok(config)
}

/// Makes a certificate under the folder's authority and writes it for a server that reads PEM files.
///
/// # Errors
/// When a file cannot be written.
pub fn write_pem(folder: &Path, names: &[String], stem: &str) -> Result<()> {
    let issuer = authority(folder)?;
    let key = KeyPair::generate()?;
    let leaf = leaf_params(names, None)?.signed_by(&key, &issuer)?;
    write_private(&folder.join(format!("{stem}.key")), &key.serialize_pem())?;
    std::fs::write(folder.join(format!("{stem}.pem")), leaf.pem())?;
    Ok(())
}

fn leaf_params(names: &[String], fault: Option<Fault>) -> Result<CertificateParams> {
    let names = match fault {
        Some(Fault::WrongName) => vec!["someone-else.test".to_owned()],
        Some(Fault::Untrusted | Fault::Expired) | None => names.to_vec(),
    };
    let mut params = CertificateParams::new(names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match fault {
        Some(Fault::Expired) => date_time_ymd(2021, 1, 1),
        Some(Fault::Untrusted | Fault::WrongName) | None => date_time_ymd(2049, 1, 1),
    };
    Ok(params)
}

fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let key_file = folder.join("ca.key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "Sortie test upstream authority");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    let key = match std::fs::read_to_string(&key_file) {
        Ok(pem) => KeyPair::from_pem(&pem).context("ca.key is not a private key")?,
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            std::fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
            write_private(&key_file, &key.serialize_pem())?;
            key
        }
        Err(error) => return Err(error).context("cannot read ca.key"),
    };
    Ok(Issuer::new(params, key))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
