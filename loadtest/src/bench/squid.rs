//! Squid with `ssl_bump`: the gateway's own job. It takes CONNECT, ends TLS with certificates that it makes under an
//! authority of its own, puts a credential into the request, and sends it on over verified TLS. It speaks HTTP/1.1.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::{User, chown, geteuid};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio::process::Command;

use super::process::{Process, start_listening};
use super::stand::HOST;
use crate::cpus::Apart;

/// Where its distributions put what makes certificates.
const MAKERS: [&str; 3] = [
    "/usr/lib/squid/security_file_certgen",
    "/usr/lib64/squid/security_file_certgen",
    "/usr/libexec/squid/security_file_certgen",
];
/// Whom it becomes when root starts it: it refuses to work as root.
const USER: &str = "proxy";

/// Starts it in a folder that holds the upstream's authority. The root of what it makes is `squid-root.pem` there.
///
/// # Errors
/// When it cannot be started or does not listen.
pub async fn start(
    program: &Path,
    folder: &Path,
    listen: SocketAddr,
    apart: &Apart,
) -> Result<Process> {
    let own = folder.join("squid");
    std::fs::create_dir(&own)?;
    write_authority(folder)?;
    std::fs::write(own.join("hosts"), format!("127.0.0.1 {HOST}\n"))?;
    let maker = MAKERS
        .into_iter()
        .map(PathBuf::from)
        .find(|maker| maker.exists());
    let maker = maker.context("Squid with OpenSSL is installed by scripts/setup --peers")?;
    let certificates = own.join("certificates");
    let made = Command::new(&maker)
        .args(["-c", "-s"])
        .arg(&certificates)
        .args(["-M", "4MB"])
        .output()
        .await?;
    ensure!(
        made.status.success(),
        "{}: {}",
        maker.display(),
        String::from_utf8_lossy(&made.stderr)
    );
    give_away(folder, &own)?;
    let config = own.join("squid.conf");
    let text = configuration(folder, listen, &maker);
    std::fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.args(["-N", "-d", "0", "-f"]).arg(&config);
    start_listening(("squid", folder), &mut command, (listen, apart)).await
}

fn write_authority(folder: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "Squid's authority");
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?.pem();
    std::fs::write(folder.join("squid-root.pem"), &root)?;
    std::fs::write(folder.join("squid/both.pem"), root + &key.serialize_pem())?;
    Ok(())
}

/// Root gives its files to whom it becomes.
fn give_away(folder: &Path, own: &Path) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let user = User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))?;
    let mut all = vec![own.to_owned()];
    while let Some(path) = all.pop() {
        chown(&path, Some(user.uid), Some(user.gid))?;
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                all.push(entry?.path());
            }
        }
    }
    // It must get to them: names are seen by others then, contents are not.
    Ok(std::fs::set_permissions(
        folder,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

fn configuration(folder: &Path, listen: SocketAddr, maker: &Path) -> String {
    let user = if geteuid().is_root() {
        format!("cache_effective_user {USER}\n")
    } else {
        String::new()
    };
    let (root, own) = (folder.display(), folder.join("squid"));
    let own = own.display();
    format!(
        "{user}http_port {listen} ssl-bump tls-cert={own}/both.pem generate-host-certificates=on \
         dynamic_cert_mem_cache_size=4MB\n\
         sslcrtd_program {} -s {own}/certificates -M 4MB\n\
         sslcrtd_children 1 startup=1 idle=1\n\
         acl all_steps at_step SslBump1\nssl_bump peek all_steps\nssl_bump bump all\n\
         tls_outgoing_options cafile={root}/ca.pem\n\
         request_header_access Authorization deny all\n\
         request_header_add Authorization \"Bearer not-a-secret-but-as-long-as-one\" all\n\
         http_access allow all\ncache deny all\naccess_log none\ncache_log stdio:{own}/cache.log\n\
         cache_store_log none\npid_filename none\nhosts_file {own}/hosts\ncoredump_dir {own}\n\
         visible_hostname bench\nforwarded_for delete\nvia off\nshutdown_lifetime 0 seconds\n\
         server_persistent_connections on\nclient_persistent_connections on\nworkers 1\n",
        maker.display()
    )
}
