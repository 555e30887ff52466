//! The command's environment: where the gateway is, what to trust, and placeholders. Pure.
//!
//! Invariants: nothing named `SORTIE_…` reaches the command, since keys are named so. A placeholder never replaces a
//! variable that programs steer by (`PATH`, `LD_…`, the proxy's own).

use std::ffi::OsString;

use reqwest::Url;
use sortie_proto::secret::Secret;

use super::trust::Folder;
use crate::error::{Error, Result};

/// What the command finds around it.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The gateway, with the token.
    pub(crate) proxy: Secret,
    /// The certificates.
    pub(crate) folder: &'a Folder,
    /// Names of credentials and what stands for them.
    pub(crate) placeholders: Vec<(String, String)>,
}

const PROXY: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];
const NO_PROXY: &str = "NO_PROXY";

/// What takes a file of all roots: OpenSSL, Python, curl, git, pip, the AWS tools, Cargo, npm, Deno.
const BUNDLE: [&str; 9] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "DENO_CERT",
];

/// Hosts that are this machine: traffic to them has no credential to get and nowhere to be brokered to.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The proxy's URL with the token as its password: some clients, undici and k6 among them, send no credentials at all
/// when there is a user name alone. What the user name is does not matter.
///
/// # Errors
/// [`Error::Config`] if it is no URL of a proxy.
pub(crate) fn proxy_url(proxy: &str, token: &Secret) -> Result<Secret> {
    let bad = || {
        Error::Config(format!(
            "the gateway's URL is http://HOST:PORT, not `{proxy}`"
        ))
    };
    let url = Url::parse(proxy).or(Err(bad()))?;
    let (scheme, host) = (url.scheme(), url.host_str().ok_or_else(bad)?);
    if !matches!(scheme, "http" | "https") || !matches!(url.path(), "" | "/") {
        return Err(bad());
    }
    let port = url.port_or_known_default().ok_or_else(bad)?;
    let mut text = format!("{scheme}://x:").into_bytes();
    text.extend_from_slice(token.expose());
    text.extend_from_slice(format!("@{host}:{port}").as_bytes());
    Ok(Secret::new(text))
}

/// The command's whole environment, from ours.
pub(crate) fn compose(
    ours: impl Iterator<Item = (OsString, OsString)>,
    surroundings: &Surroundings<'_>,
) -> Vec<(OsString, OsString)> {
    let mut kept = Vec::new();
    let mut no_proxy: Vec<String> = Vec::new();
    for (name, value) in ours {
        let text = name.to_string_lossy();
        if text.eq_ignore_ascii_case(NO_PROXY) {
            no_proxy.extend(
                value
                    .to_string_lossy()
                    .split(',')
                    .map(|host| host.trim().to_owned()),
            );
        } else if !is_ours(&text) {
            kept.push((name, value));
        }
    }
    let taken = |name: &str| kept.iter().any(|(other, _)| other == name);
    let placeholders: Vec<_> = surroundings
        .placeholders
        .iter()
        .filter(|(name, _)| !(is_ours(name) || steers(name) || taken(name) && is_shell(name)))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    kept.retain(|(name, _)| !placeholders.iter().any(|(other, _)| other == name));
    kept.extend(placeholders);
    kept.extend(settings(surroundings, no_proxy));
    kept
}

fn settings(surroundings: &Surroundings<'_>, no_proxy: Vec<String>) -> Vec<(OsString, OsString)> {
    let mut set: Vec<(OsString, OsString)> = Vec::new();
    let proxy = String::from_utf8_lossy(surroundings.proxy.expose());
    for name in PROXY {
        // Some programs read one case, some the other; curl reads http_proxy in lower case only.
        set.push((name.into(), proxy.as_ref().into()));
        set.push((name.to_lowercase().into(), proxy.as_ref().into()));
    }
    let hosts = merge(no_proxy);
    set.push((NO_PROXY.into(), hosts.clone().into()));
    set.push((NO_PROXY.to_lowercase().into(), hosts.into()));
    for name in BUNDLE {
        set.push((name.into(), surroundings.folder.bundle().into()));
    }
    set.push((
        "NODE_EXTRA_CA_CERTS".into(),
        surroundings.folder.authority().into(),
    ));
    set.push(("NODE_USE_ENV_PROXY".into(), "1".into()));
    set
}

/// `*` is left out: it would send everything past the gateway, where no credential is put in.
fn merge(theirs: Vec<String>) -> String {
    let mut hosts: Vec<String> = Vec::new();
    for host in theirs.into_iter().chain(LOCAL.map(str::to_owned)) {
        if !host.is_empty() && host != "*" && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.join(",")
}

/// Whether `settings` sets it, or it is Sortie's own.
fn is_ours(name: &str) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("SORTIE_"))
        || PROXY.iter().any(|other| name.eq_ignore_ascii_case(other))
        || name.eq_ignore_ascii_case(NO_PROXY)
        || BUNDLE.contains(&name)
        || matches!(name, "NODE_EXTRA_CA_CERTS" | "NODE_USE_ENV_PROXY")
}

/// Whether programs are steered by it: a credential of that name must not become a way to run code.
fn steers(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "PATH",
        "HOME",
        "SHELL",
        "USER",
        "IFS",
        "ENV",
        "BASH_ENV",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5OPT",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
    ];
    NAMES.contains(&name)
        || name.starts_with("LD_")
        || name.starts_with("DYLD_")
        || name.starts_with("GIT_")
}

/// Whether a shell or terminal relies on it when it is there.
fn is_shell(name: &str) -> bool {
    matches!(
        name,
        "PWD" | "OLDPWD" | "TERM" | "LANG" | "TMPDIR" | "LOGNAME" | "DISPLAY" | "EDITOR"
    ) || name.starts_with("LC_")
        || name.starts_with("XDG_")
}

#[cfg(test)]
mod tests;
