//! What an agent's environment says: where the gateway is, what to trust, which hosts go past the gateway. Pure.
//!
//! Invariants: the password of the proxy stands in the proxy's URL and nowhere else: a JVM prints `JAVA_TOOL_OPTIONS`
//! when it starts. Paths are those of the machine on which the agent runs; nothing is looked at here. Variables that
//! name a file of roots name a bundle with the system's roots in it, since most of them replace what a program trusts.

mod java;
mod no_proxy;
mod reserved;

pub use java::TRUST_STORE_PASSWORD;
pub use no_proxy::NoProxy;
pub use reserved::{is_ours, is_shell, steers};

use std::fmt;

use crate::host::Host;
use crate::secret::Secret;
use crate::service::Scheme;

/// Where the gateway is, or a relay beside the agent. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// A text that is not the URL of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a proxy's URL is http://HOST:PORT or https://HOST:PORT, without a user, a path or a query"
)]
pub struct InvalidProxy(());

impl Proxy {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`. Without a port it is the scheme's own. A slash may follow.
    ///
    /// # Errors
    /// [`InvalidProxy`] if it is anything else. The error holds nothing of the text: people put passwords there.
    pub fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidProxy(()))?;
        let scheme = Scheme::from_name(&scheme.to_ascii_lowercase()).ok_or(InvalidProxy(()))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            // The colon of an IPv6 address stands inside brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().or(Err(InvalidProxy(())))?)
            }
            _ => (authority, scheme.default_port()),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(InvalidProxy(()));
        }
        let host = Host::parse(host).or(Err(InvalidProxy(())))?;
        Ok(Self { scheme, host, port })
    }

    /// How it is spoken to.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL with a session token, or a relay's password, as the password.
    ///
    /// Some clients, undici and k6 among them, send no credentials at all when there is a user name alone. What the
    /// user name is does not matter.
    #[must_use]
    pub fn url(&self, password: Option<&Secret>) -> Secret {
        let mut text = format!("{}://", self.scheme.name()).into_bytes();
        if let Some(password) = password {
            // No push moves the secret to a larger allocation and leaves a copy behind.
            text.reserve_exact(3 * password.len() + 300);
            text.extend_from_slice(b"x:");
            percent_encode(password.expose(), &mut text);
            text.push(b'@');
        }
        text.extend_from_slice(Bracketed(&self.host).to_string().as_bytes());
        text.extend_from_slice(format!(":{}", self.port).as_bytes());
        Secret::new(text)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.scheme.name(), Bracketed(&self.host));
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

/// A host as it stands in front of a port.
struct Bracketed<'a>(&'a Host);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Name(name) => f.write_str(name),
            Host::Address(std::net::IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Address(address) => write!(f, "{address}"),
        }
    }
}

/// All but the unreserved characters (RFC 3986, 2.3).
fn percent_encode(bytes: &[u8], into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(byte);
        } else {
            into.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Where the files stand that the environment names, on the agent's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The tenant's authority alone, in PEM.
    pub authority: String,
    /// The tenant's authority and the system's roots, in PEM.
    pub bundle: String,
    /// The same as the bundle, in PKCS#12 with [`TRUST_STORE_PASSWORD`]; without it Java trusts what it trusts.
    pub trust_store: Option<String>,
}

/// What an agent finds around it.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The gateway, or a relay.
    pub proxy: &'a Proxy,
    /// The session's token, or the relay's password; `None` for a relay that asks nobody.
    pub password: Option<&'a Secret>,
    /// What to trust.
    pub files: &'a Files,
    /// What goes past the gateway.
    pub no_proxy: &'a NoProxy,
}

/// A variable of the environment.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a variable, and whether it may be shown.
#[derive(Debug)]
pub enum Value {
    /// Nothing secret.
    Plain(String),
    /// A token is in it.
    Secret(Secret),
}

/// The gateway. Some programs read one case, some the other; curl reads `http_proxy` in lower case only.
const PROXY: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];
/// What goes past it.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// What takes a file of all roots: OpenSSL (with Go, Ruby, PHP and uv), Python's requests, curl, git, pip, the AWS
/// tools, Cargo, npm, Yarn, Bundler, Hex, Nix, Deno, gRPC, gcloud, Codex, httplib2.
const BUNDLE: [&str; 17] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
    "BUNDLE_SSL_CA_CERT",
    "HEX_CACERTS_PATH",
    "NIX_SSL_CERT_FILE",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CODEX_CA_CERTIFICATE",
    "HTTPLIB2_CA_CERTS",
];
/// What adds the roots of a file to those that are built in.
const NODE_AUTHORITY: &str = "NODE_EXTRA_CA_CERTS";
/// What makes Node.js read the variables of the proxy, from 22.21 and 24.5.
const NODE_PROXY: &str = "NODE_USE_ENV_PROXY";
/// What every JVM adds to its arguments. Somebody who has options of his own there keeps them in front of these.
pub const JAVA_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// The variables of an agent's environment, each once.
#[must_use]
pub fn variables(around: &Surroundings<'_>) -> Vec<Variable> {
    let plain = |name, text: &str| Variable {
        name,
        value: Value::Plain(text.to_owned()),
    };
    let mut all = Vec::with_capacity(PROXY.len() + NO_PROXY.len() + BUNDLE.len() + 3);
    all.extend(PROXY.map(|name| Variable {
        name,
        value: match around.password {
            Some(_) => Value::Secret(around.proxy.url(around.password)),
            None => Value::Plain(around.proxy.to_string()),
        },
    }));
    let no_proxy = around.no_proxy.to_string();
    all.extend(NO_PROXY.map(|name| plain(name, &no_proxy)));
    all.extend(BUNDLE.map(|name| plain(name, &around.files.bundle)));
    all.push(plain(NODE_AUTHORITY, &around.files.authority));
    all.push(plain(NODE_PROXY, "1"));
    all.push(plain(JAVA_OPTIONS, &java::options(around)));
    all
}

/// Whether [`variables`] sets it, in whatever case: some programs read `HTTPS_PROXY`, some `https_proxy`.
#[must_use]
pub fn sets(name: &str) -> bool {
    PROXY
        .iter()
        .chain(&NO_PROXY)
        .chain(&BUNDLE)
        .chain(&[NODE_AUTHORITY, NODE_PROXY, JAVA_OPTIONS])
        .any(|other| name.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests;
