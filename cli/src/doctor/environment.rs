//! The environment that is examined, and what can be read out of it: the proxy with its password, and the files that
//! programs trust. Pure, but for looking where programs stand.
//!
//! Invariant: the password of the proxy is a [`Secret`] as soon as it is read; it leaves in one header only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use serde::Deserialize;
use sortie_proto::environment::{self as table, NoProxy, Proxy, Value};
use sortie_proto::secret::Secret;
use sortie_proto::token::PREFIX;

/// The variables as a program sees them. What is no text is read as far as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the variables.
    pub(super) fn new(
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Self {
        Self(
            variables
                .map(|(name, value)| {
                    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
                    (text(name), text(value))
                })
                .collect(),
        )
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// All variables.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The home.
    pub(super) fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new)
    }

    /// Where a program stands.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;

        std::env::split_paths(self.get("PATH")?)
            .map(|folder| folder.join(program))
            .find(|path| {
                path.metadata()
                    .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
            })
    }
}

/// A proxy as a variable names it.
#[derive(Debug)]
pub(super) struct Named {
    /// Where it is.
    pub(super) proxy: Proxy,
    user: Option<Secret>,
    password: Option<Secret>,
}

impl Named {
    /// Reads a proxy's URL, with or without a user.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Some programs take `host:port` for an HTTP proxy.
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("http://{text}")),
        }
        .ok()?;
        let port = url.port_or_known_default()?;
        let plain = format!("{}://{}:{port}", url.scheme(), url.host_str()?);
        let secret = |text: &str| (!text.is_empty()).then(|| Secret::new(decoded(text)));
        Some(Self {
            proxy: Proxy::parse(&plain).ok()?,
            user: secret(url.username()),
            password: secret(url.password().unwrap_or_default()),
        })
    }

    /// The session's token, where it stands as user name or as password.
    pub(super) fn token(&self) -> Option<&Secret> {
        [&self.password, &self.user]
            .into_iter()
            .flatten()
            .find(|secret| secret.expose().starts_with(PREFIX.as_bytes()))
    }

    /// Whether it names a user or a password.
    pub(super) const fn has_credentials(&self) -> bool {
        self.user.is_some() || self.password.is_some()
    }

    /// What `Proxy-Authorization` says.
    pub(super) fn authorization(&self) -> Option<Secret> {
        if !self.has_credentials() {
            return None;
        }
        let part = |secret: &Option<Secret>| -> Vec<u8> {
            secret
                .as_ref()
                .map_or_else(Vec::new, |secret| secret.expose().to_vec())
        };
        let mut pair = part(&self.user);
        pair.push(b':');
        pair.extend_from_slice(&part(&self.password));
        let pair = Secret::new(pair);
        Some(Secret::new(
            format!("Basic {}", STANDARD.encode(pair.expose())).into_bytes(),
        ))
    }

    /// Whether both are the same proxy with the same credentials.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |a: &Option<Secret>, b: &Option<Secret>| match (a, b) {
            (Some(a), Some(b)) => a.same_as(b.expose()),
            (None, None) => true,
            _ => false,
        };
        self.proxy == other.proxy
            && same(&self.password, &other.password)
            && (self.password.is_some() || same(&self.user, &other.user))
    }
}

/// Percent-decodes; what is no escape stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = (first == b'%').then(|| text_of(after.get(..2))).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn text_of(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?).ok()
}

/// What the table of the environment says that a variable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Where the gateway is.
    Proxy,
    /// What goes past it.
    NoProxy,
    /// A file with all roots.
    Bundle,
    /// A file with the tenant's authority.
    Authority,
    /// A switch, on with `1`.
    Switch,
    /// Options of a JVM.
    Java,
}

/// The table of the environment, with what each variable is for: learned from what it puts where.
pub(super) fn uses() -> Vec<(&'static str, Use)> {
    let Ok(proxy) = Proxy::parse("http://proxy.invalid:1") else {
        return Vec::new();
    };
    let files = table::Files {
        authority: "/authority".to_owned(),
        bundle: "/bundle".to_owned(),
        trust_store: None,
    };
    let no_proxy = NoProxy::merge(["past.invalid"], &[]);
    let around = table::Surroundings {
        proxy: &proxy,
        password: None,
        files: &files,
        no_proxy: &no_proxy,
    };
    let found = table::variables(&around)
        .into_iter()
        .filter_map(|variable| {
            let text = match &variable.value {
                Value::Plain(text) => text.as_str(),
                Value::Secret(_) => return Some((variable.name, Use::Proxy)),
            };
            let used = match text {
                "/authority" => Use::Authority,
                "/bundle" => Use::Bundle,
                "1" => Use::Switch,
                _ if variable.name == table::JAVA_OPTIONS => Use::Java,
                _ if text.starts_with("http://") => Use::Proxy,
                _ if text.starts_with("past.invalid") => Use::NoProxy,
                _ => return None,
            };
            Some((variable.name, used))
        });
    found.collect()
}

/// The proxy that the environment means: the first one with a session's token, or else the first that can be read.
pub(super) fn proxy(environment: &Environment) -> Option<(&'static str, Named)> {
    let named = || {
        uses()
            .into_iter()
            .filter(|(_, used)| *used == Use::Proxy)
            .filter_map(|(name, _)| Some((name, Named::parse(environment.get(name)?)?)))
    };
    named()
        .find(|(_, named)| named.token().is_some())
        .or_else(|| named().next())
}

/// When a session's token was minted and when it ends, in seconds since the Unix epoch. Nothing is verified: that is
/// the gateway's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Times {
    pub(super) iat: i64,
    pub(super) exp: i64,
}

impl Times {
    /// Reads them.
    pub(super) fn read(token: &Secret) -> Option<Self> {
        let text = std::str::from_utf8(token.expose()).ok()?;
        let payload = text.strip_prefix(PREFIX)?.split('.').nth(1)?;
        let payload = Secret::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(payload.expose()).ok()
    }
}

#[cfg(test)]
mod tests;
