//! `.netrc`: words, `machine HOST login NAME password SECRET`, over as many lines as one likes.

use std::ops::Range;

use sortie_proto::secret::Secret;

use super::{Encoding, Found, slice, word};

/// Finds the passwords.
pub(super) fn find(text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut host = None;
    let mut at = 0;
    while let Some(token) = next(text, at) {
        at = token.end;
        match slice(text, &token) {
            b"machine" => {
                let Some(name) = next(text, at) else { break };
                at = name.end;
                host = Some(word(text, &content(text, &name)));
            }
            b"default" => host = None,
            b"login" | b"account" => at = next(text, at).map_or(text.len(), |skipped| skipped.end),
            b"macdef" => at = behind_macro(text, at),
            b"password" => {
                let Some(secret) = next(text, at) else { break };
                at = secret.end;
                found.extend(read(text, &secret, host.clone()));
            }
            _ => {}
        }
    }
    found
}

/// The next word, quotes included. A word that starts with `#` is a comment to the end of its line.
fn next(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let byte = *text.get(at)?;
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if byte == b'#' {
            at = line_end(text, at);
        } else {
            break;
        }
    }
    let mut end = at;
    if text.get(at) == Some(&b'"') {
        end += 1;
        while let Some(&byte) = text.get(end) {
            match byte {
                b'\\' => end += 2,
                b'"' => return Some(at..end + 1),
                _ => end += 1,
            }
        }
        return None;
    }
    while text
        .get(end)
        .is_some_and(|byte| !byte.is_ascii_whitespace())
    {
        end += 1;
    }
    Some(at..end)
}

fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len())
}

/// A macro ends at an empty line, and what stands in it are no words.
fn behind_macro(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let empty = rest.windows(2).position(|pair| pair == b"\n\n");
    from + empty.map_or(rest.len(), |length| length + 2)
}

fn content(text: &[u8], token: &Range<usize>) -> Range<usize> {
    match slice(text, token) {
        [b'"', .., b'"'] => token.start + 1..token.end - 1,
        _ => token.clone(),
    }
}

fn read(text: &[u8], token: &Range<usize>, host: Option<String>) -> Option<Found> {
    let at = content(text, token);
    let raw = slice(text, &at);
    let value = if at == *token {
        raw.to_vec()
    } else {
        unescape(raw)
    };
    Some(Found {
        line: 1 + text
            .get(..at.start)?
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count(),
        key: "password".to_owned(),
        host,
        at,
        value: Secret::new(value),
        encoding: Encoding::Plain,
        is_certain: true,
        unsure: None,
    })
}

/// Inside quotes a backslash stands before what it keeps (curl 7.84, `parsenetrc`).
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b't') => out.push(b'\t'),
                Some(&other) => out.push(other),
                None => out.push(b'\\'),
            },
            (byte, false) => out.push(byte),
        }
    }
    out
}
