//! Git's credential store: a URL a line, `https://user:password@host`, percent-encoded.

use std::ops::Range;

use sortie_proto::secret::Secret;

use super::{Encoding, Found, lines, slice, trim, word};

/// Finds the passwords.
pub(super) fn find(text: &[u8]) -> Vec<Found> {
    lines(text)
        .filter_map(|(line, at)| read(text, line, trim(text, at)))
        .collect()
}

fn read(text: &[u8], line: usize, at: Range<usize>) -> Option<Found> {
    let url = slice(text, &at);
    let scheme = [&b"https://"[..], b"http://"]
        .into_iter()
        .find(|scheme| url.starts_with(scheme))?;
    let start = at.start + scheme.len();
    let rest = slice(text, &(start..at.end));
    let authority = start
        ..start
            + rest
                .iter()
                .position(|&byte| byte == b'/')
                .unwrap_or(rest.len());
    // Neither part of the user's has a bare `@` or `:`: git encodes them.
    let bytes = slice(text, &authority);
    let border = authority.start + bytes.iter().rposition(|&byte| byte == b'@')?;
    let user = slice(text, &(authority.start..border));
    let colon = authority.start + user.iter().position(|&byte| byte == b':')?;
    let at = colon + 1..border;
    Some(Found {
        line,
        key: "password".to_owned(),
        host: Some(word(text, &(border + 1..authority.end))),
        value: Secret::new(decode(slice(text, &at))?),
        at,
        encoding: Encoding::Plain,
        is_certain: true,
        unsure: None,
    })
}

fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}
