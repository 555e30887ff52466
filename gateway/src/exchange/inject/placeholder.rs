//! Placeholders: found in header values (decoded Basic too), path segments and query values, and replaced there.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use memchr::memmem;
use pingora_http::RequestHeader;
use sortie_proto::code::Code;
use sortie_proto::credential::{Credential, Surface};
use sortie_proto::secret::Secret;
use zeroize::Zeroizing;

use super::{Injection, Usage, basic, header_value, is_named, percent_encode, split_query, strip};
use crate::error::Result;
use crate::snapshot::VaultState;

/// Refuses a request that passes without a service but names a credential of the vault.
pub(super) fn refuse_known(vault: &VaultState, request: &RequestHeader) -> Result<()> {
    let names_one = |text: &[u8]| known(vault, text, has_underscores(text)).is_some();
    let in_headers = request.headers.values().any(|value| {
        names_one(value.as_bytes()) || decoded_basic(value).is_some_and(|pair| names_one(&pair))
    });
    if in_headers || names_one(request.raw_path()) {
        return Err(Code::PlaceholderUnresolved.into());
    }
    Ok(())
}

/// Replaces the placeholders of a request to a service. Headers and query parameters that are removed anyway are not
/// looked at: a client that was given a placeholder for its key sends it exactly there.
pub(super) fn replace(
    usage: &Usage<'_>,
    injection: &mut Injection,
    removed_parameters: &[&str],
) -> Result<()> {
    replace_headers(usage, injection)?;
    let raw = usage.request.raw_path();
    let (path, query) = split_query(raw);
    let mut target = Vec::with_capacity(raw.len());
    let mut changed = false;
    for (i, segment) in path.split(|&byte| byte == b'/').enumerate() {
        target.extend((i > 0).then_some(b'/'));
        changed |= push(usage, injection, Surface::Path, segment, &mut target)?;
    }
    for (i, parameter) in query.into_iter().flat_map(split_parameters).enumerate() {
        target.push(if i == 0 { b'?' } else { b'&' });
        if removed_parameters
            .iter()
            .any(|name| is_named(parameter, name))
        {
            target.extend_from_slice(parameter);
        } else {
            changed |= push_parameter(usage, injection, parameter, &mut target)?;
        }
    }
    if changed {
        injection.edits.target = Some(Secret::new(target));
    }
    Ok(())
}

fn split_parameters(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|&byte| byte == b'&')
}

/// Only the value is a place for a placeholder: names are logged and cached more freely.
fn push_parameter(
    usage: &Usage<'_>,
    injection: &mut Injection,
    parameter: &[u8],
    out: &mut Vec<u8>,
) -> Result<bool> {
    let name = memchr::memchr(b'=', parameter).map_or(parameter.len(), |at| at + 1);
    let (name, value) = parameter.split_at_checked(name).unwrap_or((parameter, b""));
    if next(usage.permit.vault(), name).is_some() {
        return Err(Code::PlaceholderUnresolved.into());
    }
    out.extend_from_slice(name);
    push(usage, injection, Surface::Query, value, out)
}

fn replace_headers(usage: &Usage<'_>, injection: &mut Injection) -> Result<()> {
    let headers = &usage.request.headers;
    for name in headers.keys() {
        // What is stripped never leaves: written again here it would, behind the stripping.
        if injection.edits.remove.contains(name) || strip::is_stripped(usage.request, name) {
            continue;
        }
        // Nearly all are as they were: for them nothing is allocated.
        if headers
            .get_all(name)
            .iter()
            .all(|value| is_plain(usage, name, value))
        {
            continue;
        }
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            let new = if *name == AUTHORIZATION {
                replace_authorization(usage, injection, value)?
            } else {
                replace_value(usage, injection, value.as_bytes())?
            };
            values.push(new.as_ref().map(header_value).transpose()?);
        }
        if values.iter().any(Option::is_some) {
            // All copies are written again, so that their order stays.
            let old = headers.get_all(name).into_iter();
            injection.edits.remove.insert(name.clone());
            injection.edits.add.extend(
                old.zip(values)
                    .map(|(old, new)| (name.clone(), new.unwrap_or_else(|| old.clone()))),
            );
        }
    }
    Ok(())
}

/// Whether no placeholder is in a header's value.
fn is_plain(usage: &Usage<'_>, name: &HeaderName, value: &HeaderValue) -> bool {
    let vault = usage.permit.vault();
    let pair = (*name == AUTHORIZATION)
        .then(|| decoded_basic(value))
        .flatten();
    let text = pair
        .as_ref()
        .map_or_else(|| value.as_bytes(), |pair| pair.as_slice());
    next(vault, text).is_none()
}

/// Git and others can only send a secret as a part of Basic, where a placeholder is out of sight.
fn replace_authorization(
    usage: &Usage<'_>,
    injection: &mut Injection,
    value: &HeaderValue,
) -> Result<Option<Secret>> {
    match decoded_basic(value) {
        None => replace_value(usage, injection, value.as_bytes()),
        Some(pair) => {
            let pair = replace_value(usage, injection, &pair)?;
            Ok(pair.as_ref().map(basic))
        }
    }
}

fn replace_value(
    usage: &Usage<'_>,
    injection: &mut Injection,
    text: &[u8],
) -> Result<Option<Secret>> {
    let mut out = Zeroizing::new(Vec::new());
    let changed = push(usage, injection, Surface::Header, text, &mut out)?;
    Ok(changed.then(|| Secret::new(std::mem::take(&mut *out))))
}

/// Appends the text with its placeholders replaced, and says whether there were any.
fn push(
    usage: &Usage<'_>,
    injection: &mut Injection,
    surface: Surface,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<bool> {
    let vault = usage.permit.vault();
    let mut rest = text;
    let mut changed = false;
    while let Some((at, credential)) = next(vault, rest) {
        let credential = credential
            .filter(|credential| usage.replaces(credential, surface))
            .ok_or(Code::PlaceholderUnresolved)?;
        let opened = usage.open_known(credential, surface, None)?;
        injection.note(&opened);
        out.extend_from_slice(rest.get(..at.start).unwrap_or_default());
        match surface {
            Surface::Header => out.extend_from_slice(opened.opened.value.expose()),
            Surface::Path | Surface::Query => percent_encode(out, opened.opened.value.expose()),
        }
        rest = rest.get(at.end..).unwrap_or_default();
        changed = true;
    }
    out.extend_from_slice(rest);
    Ok(changed)
}

impl Usage<'_> {
    fn replaces(&self, credential: &Credential, surface: Surface) -> bool {
        self.service.placeholders.as_ref().is_some_and(|replaced| {
            replaced.surfaces.contains(&surface) && replaced.credentials.contains(&credential.name)
        })
    }
}

/// The first placeholder of a text: one that the vault knows, or anything of the shape of one.
fn next<'a>(
    vault: &'a VaultState,
    text: &[u8],
) -> Option<(Range<usize>, Option<&'a Arc<Credential>>)> {
    let underscores = has_underscores(text);
    let known = known(vault, text, underscores);
    let shaped = underscores.then(|| shaped(text)).flatten();
    match (known, shaped) {
        (None, None) => None,
        // At the same place a known one is meant, whatever longer text has the shape.
        (Some((known, credential)), shaped)
            if shaped
                .as_ref()
                .is_none_or(|shaped| known.start <= shaped.start) =>
        {
            Some((known, Some(credential)))
        }
        (_, shaped) => shaped.map(|shaped| (shaped, None)),
    }
}

/// Whether two underscores follow each other: nearly no text has them, and nearly all placeholders do.
fn has_underscores(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"__")
}

/// The first placeholder of the vault's credentials; of several at one place the longest.
fn known<'a>(
    vault: &'a VaultState,
    text: &[u8],
    underscores: bool,
) -> Option<(Range<usize>, &'a Arc<Credential>)> {
    vault
        .credentials
        .values()
        .filter(|credential| underscores || !credential.placeholder.contains("__"))
        .filter(|credential| !credential.placeholder.is_empty())
        .filter_map(|credential| {
            let placeholder = credential.placeholder.as_bytes();
            let start = memmem::find(text, placeholder)?;
            Some((start..start + placeholder.len(), credential))
        })
        .min_by_key(|(at, _)| (at.start, usize::MAX - at.end))
}

/// The first text of the shape `__[A-Z][A-Z0-9_]*__` with at least 6 characters.
fn shaped(text: &[u8]) -> Option<Range<usize>> {
    memmem::find_iter(text, b"__")
        .chain(memmem::find_iter(text.get(1..).unwrap_or_default(), b"__").map(|at| at + 1))
        .filter_map(|start| {
            let inner = text.get(start + 2..)?;
            let len = inner
                .iter()
                .take_while(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
                .count();
            let end = memmem::rfind(inner.get(..len)?, b"__")?;
            let is_one = inner.first()?.is_ascii_uppercase() && end >= 2;
            is_one.then_some(start..start + 2 + end + 2)
        })
        .min_by_key(|at| at.start)
}

/// As lenient as any server: whatever one may decode, with padding or without, is looked into.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn decoded_basic(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, token) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASIC.decode(token.trim_ascii()).ok().map(Zeroizing::new)
}
