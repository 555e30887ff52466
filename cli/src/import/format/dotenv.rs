//! `.env`: `KEY=value`, quoted or not, as dotenv's many readers agree on it.
//!
//! Where they differ (what `$` means, which escapes there are) the value is left alone, or the difference is in escapes
//! that secrets do not have.

use std::ops::Range;

use sortie_proto::secret::Secret;

use super::{Encoding, Found, slice, trim, word};

/// Finds every assignment that holds a literal.
pub(super) fn find(text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = if text.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    while at < text.len() {
        let (assignment, next) = assignment(text, at);
        found.extend(assignment.and_then(|it| read(text, it)));
        // A reader that stands still would never end.
        at = next.max(at + 1);
    }
    found
}

/// Where a key and its value stand, quotes included.
struct Assignment {
    key: Range<usize>,
    value: Range<usize>,
}

/// Reads what starts at a line: an assignment or something else, and where the next line starts.
fn assignment(text: &[u8], start: usize) -> (Option<Assignment>, usize) {
    let end = line_end(text, start);
    let line = trim(text, start..end);
    let Some(middle) = slice(text, &line).iter().position(|&byte| byte == b'=') else {
        return (None, end + 1);
    };
    let middle = line.start + middle;
    let mut key = trim(text, line.start..middle);
    if slice(text, &key).starts_with(b"export ") {
        key = trim(text, key.start + 7..key.end);
    }
    if !is_key(slice(text, &key)) {
        return (None, end + 1);
    }
    let from = trim(text, middle + 1..end).start;
    let value = match text.get(from) {
        Some(&quote @ (b'"' | b'\'' | b'`')) if from < end => match closing(text, from, quote) {
            // Quoted values go over several lines.
            Some(close) => from..close + 1,
            None => return (None, end + 1),
        },
        _ => plain(text, from..end),
    };
    let next = line_end(text, value.end.max(start)) + 1;
    (Some(Assignment { key, value }), next)
}

fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().position(|&byte| byte == b'\n');
    from + length.unwrap_or(rest.len())
}

fn is_key(key: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    !key.is_empty() && !key.starts_with(b"#") && key.iter().all(is_letter)
}

/// Where the quote that closes this one stands. Only in double quotes does a backslash keep one from closing.
fn closing(text: &[u8], open: usize, quote: u8) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match *text.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// A value without quotes ends before a comment, which has white space before it.
fn plain(text: &[u8], at: Range<usize>) -> Range<usize> {
    let bytes = slice(text, &at);
    let comment = bytes.windows(2).position(|pair| {
        pair.first().is_some_and(u8::is_ascii_whitespace) && pair.last() == Some(&b'#')
    });
    let end = comment.map_or(at.end, |length| at.start + length);
    if bytes.first() == Some(&b'#') {
        return at.start..at.start;
    }
    trim(text, at.start..end)
}

fn read(text: &[u8], assignment: Assignment) -> Option<Found> {
    let Assignment { key, value } = assignment;
    let raw = slice(text, &value);
    let (at, literal) = match raw {
        [b'"', inner @ .., b'"'] => (value.start + 1..value.end - 1, unescape(inner)?),
        [b'\'', inner @ .., b'\''] | [b'`', inner @ .., b'`'] => {
            (value.start + 1..value.end - 1, inner.to_vec())
        }
        _ if refers(raw) => return None,
        _ => (value.clone(), raw.to_vec()),
    };
    let line = 1 + text
        .get(..key.start)?
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count();
    Some(Found {
        line,
        key: word(text, &key),
        host: None,
        at,
        value: Secret::new(literal),
        encoding: Encoding::Plain,
        is_certain: false,
    })
}

/// The bytes that a double-quoted text stands for; none if it refers to something else.
fn unescape(inner: &[u8]) -> Option<Vec<u8>> {
    if refers(inner) {
        return None;
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(&other @ (b'"' | b'\\' | b'$' | b'\'')) => out.push(other),
            // Readers do not agree on others: the backslash is kept, as most of them do.
            Some(&other) => out.extend([b'\\', other]),
            None => out.push(b'\\'),
        }
    }
    Some(out)
}

/// Whether a value is made of others: `$NAME`, `${NAME}`, `$(command)`, `` `command` ``.
fn refers(value: &[u8]) -> bool {
    let dollar = value.windows(2).enumerate().any(|(at, pair)| {
        let is_escaped = at > 0 && value.get(at - 1) == Some(&b'\\');
        let starts = |byte: &u8| byte.is_ascii_alphabetic() || b"_{(".contains(byte);
        !is_escaped && pair.first() == Some(&b'$') && pair.last().is_some_and(starts)
    });
    dollar || value.first() == Some(&b'`')
}
