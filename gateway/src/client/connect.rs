//! The authority of a request → [`Target`].
//!
//! One authority: what CONNECT named is what SNI, `Host` and `:authority` must name, and what is dialled. Two spellings
//! of a host are one host (IDNA, case, a trailing dot); nothing else is mended.

use sortie_proto::code::Code;
use sortie_proto::host::Host;
use sortie_proto::service::Scheme;

use crate::error::Result;

/// Where a request goes: one authority, in canonical form, that CONNECT, SNI, `Host` and the dialled name agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether the upstream is spoken to over TLS.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// The longest authority: a name has 253 bytes (RFC 1035), a port 6.
const AUTHORITY_BYTES_MAX: usize = 260;

impl Target {
    /// The target of a CONNECT (RFC 9110, 9.3.6): a host and a port, both.
    ///
    /// Port 80 is taken for plain HTTP until the first byte in the tunnel says otherwise.
    ///
    /// # Errors
    /// `target_invalid`.
    pub fn of_connect(authority: &str) -> Result<Self> {
        let (host, port) = split(authority)?;
        let port = port.ok_or(Code::TargetInvalid)?;
        let scheme = if port == Scheme::Http.default_port() {
            Scheme::Http
        } else {
            Scheme::Https
        };
        Ok(Self { scheme, host, port })
    }

    /// The target of a request in absolute form (RFC 9112, 3.2.2), and its path with the query.
    ///
    /// Only `http` is taken: what is `https` comes through CONNECT, where it is encrypted.
    ///
    /// # Errors
    /// `target_invalid`.
    pub fn of_absolute(uri: &str) -> Result<(Self, &str)> {
        let rest = strip_scheme(uri, "http://").ok_or(Code::TargetInvalid)?;
        let (authority, path) = split_path(rest).ok_or(Code::TargetInvalid)?;
        let (host, port) = split(authority)?;
        let target = Self {
            scheme: Scheme::Http,
            host,
            port: port.unwrap_or_else(|| Scheme::Http.default_port()),
        };
        Ok((target, path))
    }

    /// Whether a `Host` or an `:authority` names this target. Without a port it names the scheme's own.
    #[must_use]
    pub fn agrees(&self, authority: &str) -> bool {
        let named = |port: Option<u16>| port.unwrap_or_else(|| self.scheme.default_port());
        if let Some(port) = self.port_behind_name(authority) {
            return named(port) == self.port;
        }
        split(authority).is_ok_and(|(host, port)| host == self.host && named(port) == self.port)
    }

    /// The port of an authority that spells the host as it is here, as nearly all do: that takes no parsing.
    fn port_behind_name(&self, authority: &str) -> Option<Option<u16>> {
        let Host::Name(name) = &self.host else {
            return None;
        };
        let rest = authority.strip_prefix(&**name)?;
        if rest.is_empty() {
            return Some(None);
        }
        let digits = rest.strip_prefix(':')?;
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse().ok()).flatten().map(Some)
    }

    /// As it stands in `Host`: without the scheme's own port.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path of a request target inside the tunnel: origin form, or absolute form that names this target.
    ///
    /// # Errors
    /// `authority_mismatch` for another authority; `request_malformed` for any other form.
    pub fn path_in<'t>(&self, target: &'t str) -> Result<&'t str> {
        if target.starts_with('/') {
            return Ok(target);
        }
        let prefix = match self.scheme {
            Scheme::Https => "https://",
            Scheme::Http => "http://",
        };
        let rest = strip_scheme(target, prefix).ok_or(Code::RequestMalformed)?;
        let (authority, path) = split_path(rest).ok_or(Code::RequestMalformed)?;
        if self.agrees(authority) {
            Ok(path)
        } else {
            Err(Code::AuthorityMismatch.into())
        }
    }
}

fn strip_scheme<'u>(uri: &'u str, prefix: &str) -> Option<&'u str> {
    let (start, rest) = uri.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The authority and the path of a URI without its scheme; `None` for a query right behind the authority, which HTTP/1
/// cannot send in origin form as it stands.
fn split_path(rest: &str) -> Option<(&str, &str)> {
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    match path.chars().next() {
        None => Some((authority, "/")),
        Some('/') => Some((authority, path)),
        Some(_query) => None,
    }
}

/// A host and perhaps a port (RFC 3986, 3.2, without user information).
fn split(authority: &str) -> Result<(Host, Option<u16>)> {
    let invalid = Code::TargetInvalid;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if authority.len() > AUTHORITY_BYTES_MAX || !authority.bytes().all(allowed) {
        return Err(invalid.into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(invalid)?;
            // Brackets are for IPv6 alone, so that no spelling has two meanings.
            let address: std::net::Ipv6Addr = address.parse().or(Err(invalid))?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(invalid.into()),
            };
            (Host::Address(address.into()), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            if host.contains(['[', ']', ':']) {
                return Err(invalid.into());
            }
            (Host::parse(host).or(Err(invalid))?, port)
        }
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().or(Err(invalid))?)
        }
        Some(_) => return Err(invalid.into()),
    };
    if port == Some(0) {
        return Err(invalid.into());
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests;
