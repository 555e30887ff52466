//! Services: allowed destinations and how to authenticate to them.

use crate::credential::Surface;
use crate::host::{HostPattern, PathPattern};
use crate::id::{ServiceId, VaultId};
use crate::limits::Limits;

/// An allowed destination, how to authenticate to it, and how to treat its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// The vault that it belongs to.
    pub vault: VaultId,
    /// Unique in the vault.
    pub name: String,
    /// Rises with every change of the object.
    pub version: u64,
    /// A disabled service matches and refuses.
    pub enabled: bool,
    /// HTTPS unless it says otherwise.
    pub scheme: Scheme,
    /// The host.
    pub host: HostPattern,
    /// The port; `None` is the scheme's own.
    pub port: Option<u16>,
    /// The methods, in upper case; empty is any.
    pub methods: Vec<String>,
    /// What the canonical path must match.
    pub path: PathPattern,
    /// What is put into a request, in order.
    pub inject: Vec<Injection>,
    /// Which placeholders are replaced, and where.
    pub placeholders: Option<Placeholders>,
    /// Whether injected values are masked in answers.
    pub redact: bool,
    /// Whether tunnels to it are opened.
    pub intercept: Intercept,
    /// Whether `%2F` stays inside a path segment. Without it such a path is refused.
    pub encoded_slash: bool,
    /// What all its requests together may use.
    pub limits: Limits,
}

impl Service {
    /// The port that it is reached at.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }

    /// The credentials that it works with, each with the parts of a request in one of which it stands. One may come
    /// several times.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &[Surface])> {
        let injected = self.inject.iter().flat_map(|injection| {
            let surfaces = injection.surfaces();
            injection.credentials().map(move |name| (name, surfaces))
        });
        let placed = self.placeholders.iter().flat_map(|placed| {
            let names = placed.credentials.iter();
            names.map(|name| (name.as_str(), placed.surfaces.as_slice()))
        });
        injected.chain(placed)
    }
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS, verified.
    Https,
    /// Plain HTTP.
    Http,
}

impl Scheme {
    /// The port that the scheme has when none is named (RFC 9110, 4.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }

    /// The name in URLs and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Https, Self::Http]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

/// Whether a tunnel to a service is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intercept {
    /// It is; requests are matched, injected, redacted.
    Always,
    /// It is passed on untouched and nothing is ever injected.
    Never,
}

impl Intercept {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// Reads the name in the API.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Always, Self::Never]
            .into_iter()
            .find(|how| how.name() == name)
    }
}

/// How a credential is put into a request. What the agent sent in the same place is removed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injection {
    /// `Authorization: Bearer VALUE` (RFC 6750).
    Bearer {
        /// The credential's name.
        credential: String,
    },
    /// `Authorization: Basic base64(USERNAME:VALUE)` (RFC 7617).
    Basic {
        /// The user name in front of the colon.
        username: String,
        /// The name of the credential that is the password.
        credential: String,
    },
    /// A header made from a template.
    Header {
        /// The header's name.
        name: String,
        /// Text in which each `{{ NAME }}` stands for a credential.
        template: Template,
    },
    /// A query parameter.
    Query {
        /// The parameter's name.
        name: String,
        /// The credential's name.
        credential: String,
    },
}

impl Injection {
    /// The part of a request that it writes.
    #[must_use]
    pub const fn surfaces(&self) -> &'static [Surface] {
        match self {
            Self::Bearer { .. } | Self::Basic { .. } | Self::Header { .. } => &[Surface::Header],
            Self::Query { .. } => &[Surface::Query],
        }
    }

    /// The names of the credentials that it needs.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        let (one, template) = match self {
            Self::Bearer { credential }
            | Self::Basic { credential, .. }
            | Self::Query { credential, .. } => (Some(credential.as_str()), None),
            Self::Header { template, .. } => (None, Some(template)),
        };
        one.into_iter()
            .chain(template.into_iter().flat_map(Template::credentials))
    }
}

/// Text with credentials' names in it: `token {{ GITHUB_TOKEN }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// The value of a credential, by name.
    Credential(String),
}

/// Why a text is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// `{{` without `}}`.
    #[error("a {{{{ has no }}}}")]
    Unclosed,
    /// What stands between the braces is not a credential's name.
    #[error("what stands between {{{{ and }}}} is not a credential's name")]
    Name,
    /// No credential is named.
    #[error("no credential is named: write {{{{ NAME }}}} where its value belongs")]
    Constant,
    /// A control character: it could end the header.
    #[error("control characters cannot stand in a header")]
    Control,
}

impl Template {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`InvalidTemplate`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        if text.chars().any(char::is_control) {
            return Err(InvalidTemplate::Control);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").ok_or(InvalidTemplate::Unclosed)?;
            let name = name.trim();
            if !is_name(name) {
                return Err(InvalidTemplate::Name);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Credential(name.to_owned()));
            rest = behind;
        }
        if parts.is_empty() {
            return Err(InvalidTemplate::Constant);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The names of the credentials in it.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Credential(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Credential(name) => write!(f, "{{{{ {name} }}}}"),
        })
    }
}

/// Whether a text may name a credential: a letter or `_`, then letters, digits and `_`, 64 at most.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Which placeholders a service replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders {
    /// The credentials' names.
    pub credentials: Vec<String>,
    /// Where they are looked for.
    pub surfaces: Vec<Surface>,
}
