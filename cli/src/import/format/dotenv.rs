//! `.env`: `KEY=value`, quoted or not, as dotenv's many readers agree on it.
//!
//! Where they differ (what `$` means, whether a quote that never ends is one) nobody is sure of the value; or the
//! difference is in escapes that secrets do not have.

use std::ops::Range;

use sortie_proto::secret::Secret;

use super::{Encoding, Found, slice, trim, word};

/// Finds every assignment that holds a literal, or one beside references.
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
            None => plain(text, from..end),
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
    let inside = value.start + 1..value.end.saturating_sub(1);
    let (at, literal, kind) = match raw {
        [b'\'', inner @ .., b'\''] => (inside, inner.to_vec(), Kind::Literal),
        [b'`', inner @ .., b'`'] => (inside, inner.to_vec(), Kind::Doubtful(RUNS)),
        [b'"', inner @ .., b'"'] => (inside, unescape(inner), kind(inner)),
        [b'"' | b'\'' | b'`', rest @ ..] => (
            value.start + 1..value.end,
            rest.to_vec(),
            Kind::Doubtful("its quote does not end"),
        ),
        _ => (value.clone(), raw.to_vec(), kind(raw)),
    };
    let unsure = match kind {
        Kind::Literal => None,
        Kind::Doubtful(why) => Some(why),
        Kind::References => return None,
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
        unsure,
    })
}

/// The bytes that a double-quoted text stands for.
fn unescape(inner: &[u8]) -> Vec<u8> {
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
    out
}

/// What a value is made of.
enum Kind {
    /// What stands there is the value.
    Literal,
    /// There is something like a secret, but readers differ in what it is.
    Doubtful(&'static str),
    /// Other variables: `$NAME`, `${NAME}`, `$(command)`.
    References,
}

const RUNS: &str = "a shell runs what stands in backticks";
/// How many bytes beside references could be a secret.
const BESIDE_MIN: usize = 8;

fn kind(value: &[u8]) -> Kind {
    let (mut rest, mut beside, mut refers) = (value, 0, false);
    while let Some((&byte, after)) = rest.split_first() {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = match (byte, after.first()) {
            (b'\\', Some(_)) => 1,
            (b'$', Some(b'{')) => to(after, |byte| *byte == b'}') + 1,
            (b'$', Some(b'(')) => to(after, |byte| *byte == b')') + 1,
            (b'$', Some(first)) if is_name(first) && !first.is_ascii_digit() => {
                to(after, |byte| !is_name(byte))
            }
            _ => 0,
        };
        if byte == b'$' && length > 0 {
            refers = true;
        } else {
            beside += 1;
        }
        rest = after.get(length..).unwrap_or_default();
    }
    // Nobody writes two for a reference; a password may have them.
    let is_doubled = value.windows(2).any(|pair| pair == b"$$");
    match (refers, beside) {
        (false, _) => Kind::Literal,
        (true, count) if count >= BESIDE_MIN || is_doubled => {
            Kind::Doubtful("`$` may stand for another variable")
        }
        (true, _) => Kind::References,
    }
}

/// How many bytes there are before the first of a kind.
fn to(bytes: &[u8], ends: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().position(ends).unwrap_or(bytes.len())
}
