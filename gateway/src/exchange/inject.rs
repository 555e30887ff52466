//! Permit + credentials → the request that leaves. What the agent sent in the same places is removed first.
//!
//! **Invariants.** A value is used only after its own destinations allowed this use. A placeholder that does not resolve
//! is never sent. What was put in is never searched again, so a value that looks like a placeholder stays a value.
//! Nothing is changed before everything was found, opened and allowed.

mod placeholder;
mod strip;

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use pingora_http::RequestHeader;
use sortie_proto::code::Code;
use sortie_proto::credential::{Credential, Destination, Surface};
use sortie_proto::host::CanonicalPath;
use sortie_proto::secret::Secret;
use sortie_proto::service::{self, Intercept, Part, Scheme, Service, Template};

use super::credential::{Credentials, Opened, pair};
use crate::client::connect::Target;
use crate::decision::policy::Permit;
use crate::error::{Error, Result};

pub use self::strip::strip;

/// What will be put into a request: everything was found, opened and allowed, and nothing has been changed yet.
///
/// It is made before the journal's record is written and applied after, so that a refusal sends nothing and the record
/// names exactly what is used.
#[derive(Debug, Default)]
pub struct Injection {
    /// The credentials that it uses, each once.
    pub used: Vec<Arc<Opened>>,
    /// What changes; nobody but this module looks inside.
    pub edits: Edits,
}

/// Changes of a request's head.
#[derive(Debug, Default)]
pub struct Edits {
    /// Headers to remove, all copies.
    remove: HashSet<HeaderName>,
    /// Headers to add then, in order; the values are sensitive.
    add: Vec<(HeaderName, HeaderValue)>,
    /// The new path and query, if they change.
    target: Option<Secret>,
}

/// Works out what a request gets.
///
/// # Errors
/// `credential_missing`, `credential_revoked`, `destination_refused`, `placeholder_unresolved`, `cleartext_refused`, `credential_unusable`.
pub fn prepare(
    permit: &Permit,
    credentials: &Credentials,
    target: &Target,
    request: &RequestHeader,
) -> Result<Injection> {
    let Some(service) = permit.service() else {
        placeholder::refuse_known(permit.vault(), request)?;
        return Ok(Injection::default());
    };
    if service.intercept == Intercept::Never {
        return Ok(Injection::default());
    }
    let usage = Usage {
        permit,
        credentials,
        service,
        target,
        request,
    };
    let mut injection = Injection::default();
    let mut query = Vec::new();
    for inject in &service.inject {
        injection.add(&usage, inject, &mut query)?;
    }
    let removed: Vec<_> = query.iter().map(|(name, _)| *name).collect();
    placeholder::replace(&usage, &mut injection, &removed)?;
    if !query.is_empty() {
        let raw = injection
            .edits
            .target
            .as_ref()
            .map_or_else(|| request.raw_path(), Secret::expose);
        injection.edits.target = Some(with_query(raw, &query));
    }
    Ok(injection)
}

impl Injection {
    /// Puts it into the request. The request is already free of hop-by-hop and proxy headers ([`strip`]).
    ///
    /// # Errors
    /// `credential_unusable` if a value cannot stand where it belongs.
    pub fn apply(&self, request: &mut RequestHeader) -> Result<()> {
        for name in &self.edits.remove {
            while request.remove_header(name).is_some() {}
        }
        for (name, value) in &self.edits.add {
            request
                .append_header(name.clone(), value.clone())
                .or(Err(Code::CredentialUnusable))?;
        }
        // Cookies of which one changed are written again one by one, as the agent sent them.
        strip::join_cookies(request);
        if let Some(target) = &self.edits.target {
            request
                .set_raw_path(target.expose())
                .or(Err(Code::CredentialUnusable))?;
        }
        Ok(())
    }

    fn add<'a>(
        &mut self,
        usage: &Usage<'a>,
        inject: &'a service::Injection,
        query: &mut Vec<(&'a str, Arc<Opened>)>,
    ) -> Result<()> {
        use service::Injection as How;

        let (name, value) = match inject {
            How::Bearer { credential } => {
                let opened = self.open(usage, credential, Surface::Header)?;
                let value = [b"Bearer ", opened.opened.value.expose()].concat();
                (AUTHORIZATION, Secret::new(value))
            }
            How::Basic {
                username,
                credential,
            } => {
                let opened = usage.open(credential, Surface::Header, Some(username))?;
                self.note(&opened);
                (AUTHORIZATION, basic(&pair(username, &opened.opened.value)))
            }
            How::Header { name, template } => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|cause| Error::because(Code::CredentialUnusable, cause))?;
                (name, self.fill(usage, template)?)
            }
            How::Query { name, credential } => {
                query.push((name, self.open(usage, credential, Surface::Query)?));
                return Ok(());
            }
        };
        let value = header_value(&value)?;
        self.edits.remove.insert(name.clone());
        self.edits.add.push((name, value));
        Ok(())
    }

    fn fill(&mut self, usage: &Usage<'_>, template: &Template) -> Result<Secret> {
        let mut value = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Credential(name) => {
                    let opened = self.open(usage, name, Surface::Header)?;
                    value.extend_from_slice(opened.opened.value.expose());
                }
            }
        }
        Ok(Secret::new(value))
    }

    fn open(&mut self, usage: &Usage<'_>, name: &str, surface: Surface) -> Result<Arc<Opened>> {
        let opened = usage.open(name, surface, None)?;
        self.note(&opened);
        Ok(opened)
    }

    fn note(&mut self, opened: &Arc<Opened>) {
        if !self.used.iter().any(|used| Arc::ptr_eq(used, opened)) {
            self.used.push(Arc::clone(opened));
        }
    }
}

/// What every use of a credential is checked against.
struct Usage<'a> {
    permit: &'a Permit,
    credentials: &'a Credentials,
    service: &'a Service,
    target: &'a Target,
    request: &'a RequestHeader,
}

impl Usage<'_> {
    fn open(&self, name: &str, surface: Surface, username: Option<&str>) -> Result<Arc<Opened>> {
        let vault = self.permit.vault();
        let credential = vault.credentials.get(name).ok_or(Code::CredentialMissing)?;
        self.open_known(credential, surface, username)
    }

    /// The one place where a value becomes usable: its destinations were asked.
    fn open_known(
        &self,
        credential: &Arc<Credential>,
        surface: Surface,
        username: Option<&str>,
    ) -> Result<Arc<Opened>> {
        if self.target.scheme == Scheme::Http && self.service.scheme != Scheme::Http {
            return Err(Code::CleartextRefused.into());
        }
        let opened = match username {
            None => self.credentials.open(self.permit, credential)?,
            Some(username) => self
                .credentials
                .open_pair(self.permit, credential, username)?,
        };
        let destinations = &opened.opened.destinations;
        if !destinations.iter().any(|to| self.allowed(to, surface)) {
            return Err(Code::DestinationRefused.into());
        }
        Ok(opened)
    }

    fn allowed(&self, to: &Destination, surface: Surface) -> bool {
        let method = self.request.method.as_str();
        let path_matches = || {
            let Some(pattern) = &to.path else {
                return true;
            };
            // A path that cannot be read in one way was refused before; here it matches nothing.
            std::str::from_utf8(split_query(self.request.raw_path()).0)
                .ok()
                .and_then(|raw| CanonicalPath::parse(raw).ok())
                .is_some_and(|path| pattern.matches_all_readings(&path))
        };
        to.host.matches(&self.target.host)
            && to.port.is_none_or(|port| port == self.target.port)
            && (self.target.scheme == Scheme::Https || to.cleartext)
            && (to.methods.is_empty() || to.methods.iter().any(|named| named == method))
            && (to.surfaces.is_empty() || to.surfaces.contains(&surface))
            && path_matches()
    }
}

/// The path and the query of a raw target.
fn split_query(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', raw) {
        None => (raw, None),
        Some(at) => (raw.get(..at).unwrap_or_default(), raw.get(at + 1..)),
    }
}

fn basic(pair: &Secret) -> Secret {
    let mut value = b"Basic ".to_vec();
    value.extend_from_slice(STANDARD.encode(pair.expose()).as_bytes());
    Secret::new(value)
}

/// Visible ASCII and inner spaces only: what any server reads as it stands (RFC 9110, 5.5).
fn header_value(value: &Secret) -> Result<HeaderValue> {
    let bytes = value.expose();
    let visible = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if !visible || bytes.trim_ascii().len() != bytes.len() {
        return Err(Code::CredentialUnusable.into());
    }
    let mut value = HeaderValue::from_bytes(bytes).or(Err(Code::CredentialUnusable))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The target without the parameters that are put in, in any spelling of their names, and with them at its end.
fn with_query(raw: &[u8], parameters: &[(&str, Arc<Opened>)]) -> Secret {
    let (path, query) = split_query(raw);
    let mut target = path.to_vec();
    let mut separator = b'?';
    for parameter in query.unwrap_or_default().split(|&byte| byte == b'&') {
        if parameter.is_empty() || parameters.iter().any(|(name, _)| is_named(parameter, name)) {
            continue;
        }
        target.push(separator);
        target.extend_from_slice(parameter);
        separator = b'&';
    }
    for (name, opened) in parameters {
        target.push(separator);
        percent_encode(&mut target, name.as_bytes());
        target.push(b'=');
        percent_encode(&mut target, opened.opened.value.expose());
        separator = b'&';
    }
    Secret::new(target)
}

/// Whether a `name=value` of a query has this name, once `+` and percent-encoding are taken off.
fn is_named(parameter: &[u8], name: &str) -> bool {
    let written = parameter
        .split(|&byte| byte == b'=')
        .next()
        .unwrap_or_default();
    let mut decoded = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied();
    while let Some(byte) = bytes.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let two = || {
            let mut ahead = bytes.clone();
            let value = digit(ahead.next()?)? * 16 + digit(ahead.next()?)?;
            Some((u8::try_from(value).ok()?, ahead))
        };
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => match two() {
                Some((byte, ahead)) => {
                    decoded.push(byte);
                    bytes = ahead;
                }
                None => decoded.push(b'%'),
            },
            byte => decoded.push(byte),
        }
    }
    decoded == name.as_bytes()
}

/// Encodes all that is not unreserved (RFC 3986, 2.3).
fn percent_encode(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests;
