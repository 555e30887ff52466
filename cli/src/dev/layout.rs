//! Where everything of `sortie dev` stands: folders, ports, and the configuration of both programs.
//!
//! Invariants: folders are 0700 (0711 on the way to the database if root starts it) and files 0600; configuration is
//! written anew at each start, so that it always fits this version.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::authority::Authority;
use crate::config::write_private;
use crate::error::{Error, Result};

/// The name of the demo upstream. `.test` never resolves anywhere (RFC 6761).
pub(super) const HOST: &str = "api.demo.test";

/// Folders and ports.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    folder: PathBuf,
    base: u16,
}

impl Layout {
    /// Makes the folders.
    pub(super) fn make(folder: &Path, base: u16) -> Result<Self> {
        // PostgreSQL refuses to run as root, so control runs it as another user, who must get through to its folder.
        let way = if nix::unistd::geteuid().is_root() {
            0o711
        } else {
            0o700
        };
        make_folder(folder, way)?;
        let folder =
            fs::canonicalize(folder).map_err(|source| Error::file("find", folder, source))?;
        make_folder(&folder.join("control"), way)?;
        for name in ["gateway", "logs", "demo"] {
            make_folder(&folder.join(name), 0o700)?;
        }
        Ok(Self { folder, base })
    }

    /// What stands in a folder, without making anything.
    pub(super) fn find(folder: &Path, base: u16) -> Self {
        Self {
            folder: fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()),
            base,
        }
    }

    /// Says which port is taken, before anything is started.
    pub(super) fn check_ports(&self) -> Result<()> {
        let taken: Vec<_> = self
            .ports()
            .into_iter()
            .filter(|(_, port)| TcpListener::bind(("127.0.0.1", *port)).is_err())
            .map(|(_, port)| port.to_string())
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        Err(Error::failed(
            format!("in use on 127.0.0.1: port {}", taken.join(", ")),
            "Stop what listens there, or choose other ports: --port-base 8300.",
        ))
    }

    /// Writes what both programs and the gateway's trust in the demo upstream need.
    pub(super) fn write_configs(&self, upstream_ca: &str) -> Result<()> {
        write_private(&self.upstream_ca(), upstream_ca.as_bytes())?;
        let control = ControlFile {
            data_dir: self.folder.join("control"),
            proxy_url: format!("http://{}", address(self.port(80))),
            api: Listen::at(self.port(0)),
            feed: Listen {
                advertise: Some(address(self.port(1))),
                ..Listen::at(self.port(1))
            },
            admin: Listen::at(self.port(2)),
        };
        let gateway = GatewayFile {
            data_dir: self.folder.join("gateway"),
            name: "dev",
            proxy: Proxy {
                listen: [address(self.port(80))],
                tls: Tls {
                    certificate: self.proxy_certificate(),
                    key: self.proxy_key(),
                },
            },
            admin: Listen::at(self.port(81)),
            upstream: Upstream {
                extra_roots: [self.upstream_ca()],
                hosts: BTreeMap::from([(HOST, ["127.0.0.1"])]),
            },
        };
        write_toml(&self.control_config(), &control)?;
        write_toml(&self.gateway_config(), &gateway)
    }

    /// The first port.
    pub(super) const fn base(&self) -> u16 {
        self.base
    }

    /// Makes the certificate with which the proxy speaks TLS, unless an earlier start has: who trusts that one goes on.
    pub(super) fn secure_proxy(&self) -> Result<()> {
        let (ca, certificate, key) = (self.proxy_ca(), self.proxy_certificate(), self.proxy_key());
        if [&ca, &certificate, &key].iter().all(|file| file.is_file()) {
            return Ok(());
        }
        let hosts = ["localhost", "127.0.0.1", "::1"];
        let made = Authority::make("Sortie dev proxy authority", &hosts)?;
        write_private(&key, made.key_pem().expose())?;
        write_private(&certificate, made.certificate_pem().as_bytes())?;
        // It comes last: where it stands, the pair that it is for stands too.
        write_private(&ca, made.pem().as_bytes())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn control_config(&self) -> PathBuf {
        self.folder.join("control.toml")
    }

    pub(super) fn gateway_config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    pub(super) fn control_log(&self) -> PathBuf {
        self.folder.join("logs/control.log")
    }

    pub(super) fn gateway_log(&self) -> PathBuf {
        self.folder.join("logs/gateway.log")
    }

    /// What `sortie dev` says in the background.
    pub(super) fn dev_log(&self) -> PathBuf {
        self.folder.join("logs/dev.log")
    }

    pub(super) fn postgres_log(&self) -> PathBuf {
        self.folder.join("control/postgres.log")
    }

    /// PostgreSQL's own record; its first line is its process id.
    pub(super) fn postgres_pid(&self) -> PathBuf {
        self.folder.join("control/postgres/postmaster.pid")
    }

    pub(super) fn operator_key(&self) -> PathBuf {
        self.folder.join("control/operator.key")
    }

    /// A file of the demonstration.
    pub(super) fn demo(&self, name: &str) -> PathBuf {
        self.folder.join("demo").join(name)
    }

    pub(super) fn upstream_ca(&self) -> PathBuf {
        self.demo("upstream-ca.pem")
    }

    /// The authority of the proxy's own certificate, for clients that speak TLS to it.
    pub(super) fn proxy_ca(&self) -> PathBuf {
        self.folder.join("proxy-ca.pem")
    }

    pub(super) fn proxy_certificate(&self) -> PathBuf {
        self.folder.join("gateway/proxy.pem")
    }

    pub(super) fn proxy_key(&self) -> PathBuf {
        self.folder.join("gateway/proxy.key")
    }

    pub(super) fn api(&self) -> String {
        format!("http://{}", address(self.port(0)))
    }

    pub(super) fn proxy(&self) -> String {
        format!("http://{}", address(self.port(80)))
    }

    pub(super) fn control_admin(&self) -> String {
        format!("http://{}", address(self.port(2)))
    }

    pub(super) fn gateway_admin(&self) -> String {
        format!("http://{}", address(self.port(81)))
    }

    /// Every port by its name.
    pub(super) const fn ports(&self) -> [(&'static str, u16); 6] {
        [
            ("api", self.port(0)),
            ("feed", self.port(1)),
            ("control_admin", self.port(2)),
            ("proxy", self.port(80)),
            ("gateway_admin", self.port(81)),
            ("demo_upstream", self.port(90)),
        ]
    }

    pub(super) const fn upstream_port(&self) -> u16 {
        self.port(90)
    }

    /// The demo upstream as agents know it.
    pub(super) fn upstream_url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.upstream_port())
    }

    const fn port(&self, offset: u16) -> u16 {
        self.base.saturating_add(offset)
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A folder that is there keeps its mode: it may be anything that was named. A new one gets its mode again after it is
/// made: a strict umask would close the way to the database.
fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|source| Error::file("make", path, source))
}

fn write_toml(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = toml::to_string(value)
        .map_err(|error| Error::Config(format!("cannot write {}: {error}", path.display())))?;
    let head = "# Written by `sortie dev` at each start: changes are lost.\n\n";
    write_private(path, format!("{head}{text}").as_bytes())
}

#[derive(Serialize)]
struct ControlFile {
    data_dir: PathBuf,
    proxy_url: String,
    api: Listen,
    feed: Listen,
    admin: Listen,
}

#[derive(Serialize)]
struct GatewayFile {
    data_dir: PathBuf,
    name: &'static str,
    proxy: Proxy,
    admin: Listen,
    upstream: Upstream,
}

#[derive(Serialize)]
struct Listen {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,
}

impl Listen {
    fn at(port: u16) -> Self {
        Self {
            listen: address(port),
            advertise: None,
        }
    }
}

#[derive(Serialize)]
struct Proxy {
    listen: [String; 1],
    tls: Tls,
}

#[derive(Serialize)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Serialize)]
struct Upstream {
    extra_roots: [PathBuf; 1],
    hosts: BTreeMap<&'static str, [&'static str; 1]>,
}

#[cfg(test)]
mod tests;
