//! Hosts and patterns over hosts, paths and patterns over paths: parsed once, matched often.
//!
//! **Invariants.** A [`Host`] has one spelling: two that compare unequal are two hosts. What could be read as an address
//! in one program and as a name in another (`127.1`, `0x7f.1`, `2130706433`) is neither. Every parser here is total: it
//! accepts or refuses any text and never panics. What a parser accepts, its `Display` writes so that it reads back equal.
//!
//! Not here: the port of an authority, resolving, and what an address is for.

mod path;

pub use path::{CanonicalPath, InvalidPathPattern, PathPattern, RefusedPath};

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The ASCII that no label may hold: all but letters, digits, the hyphen, and the underscore, which STD 3 does not
/// know but which names in use have.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// The longest text that is looked at. A name has 253 characters (RFC 1035, 2.3.4); before IDNA it may need four bytes
/// for each.
const TEXT_MAX: usize = 4 * 253;

/// A host in canonical form: lower case, IDNA-encoded, no trailing dot; or an IP address.
///
/// A name has at most 253 characters in labels of 1 to 63 (RFC 1035, 2.3.4), and its last label is not a number.
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
    /// Reads a host as it stands in an authority (RFC 3986, 3.2.2), in SNI, or in a service.
    ///
    /// One trailing dot is taken off a name. An IPv6 address may stand in brackets; zone ids (RFC 6874) are refused,
    /// for they name an interface of this machine. Percent-encoding is refused.
    ///
    /// # Errors
    /// [`InvalidHost`] if it is neither a DNS name nor an address, or if programs disagree about which it is.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(InvalidHost(()))?;
            let address: Ipv6Addr = inner.parse().or(Err(InvalidHost(())))?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        name(text).map(Self::Name)
    }

    /// The name, if it is one.
    #[must_use]
    pub const fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

fn name(text: &str) -> Result<Box<str>, InvalidHost> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > TEXT_MAX {
        return Err(InvalidHost(()));
    }
    let name = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            DENIED,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .or(Err(InvalidHost(())))?;
    // Checked after the mapping: it makes ASCII digits of full-width ones.
    if ends_in_a_number(&name) {
        return Err(InvalidHost(()));
    }
    Ok(name.into())
}

/// Whether some program would take the name for an IPv4 address (WHATWG URL, "ends in a number").
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
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
    /// Any single label in front of this name. Never names that strangers can register.
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
        let Some(rest) = text.strip_prefix("*.") else {
            return host(text).map(Self::Exact);
        };
        match host(rest)? {
            Host::Address(_) => Err(InvalidHostPattern::Host),
            Host::Name(base) if covers_strangers(&base) => Err(InvalidHostPattern::PublicSuffix),
            Host::Name(base) => Ok(Self::Wildcard(base)),
        }
    }

    /// Whether there is a host that both cover.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => pattern.matches(host),
            (Self::Wildcard(one), Self::Wildcard(other)) => one == other,
        }
    }

    /// Whether it covers a host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Wildcard(base), Host::Name(name)) => {
                parent(name).is_some_and(|parent| *parent == **base)
            }
            (Self::Wildcard(_), Host::Address(_)) => false,
        }
    }
}

/// The name without its first label: what a wildcard that covers it is made of.
#[must_use]
pub fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// Whether names right below this one belong to others: it is a public suffix (<https://publicsuffix.org>, the private
/// section too), or names right below it are (`*.kawasaki.jp` is such a rule).
fn covers_strangers(base: &str) -> bool {
    let is_suffix = |name: &str| psl::suffix_str(name).is_none_or(|suffix| suffix == name);
    is_suffix(base) || is_suffix(&format!("sortie-probe.{base}"))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

#[cfg(test)]
mod tests;
