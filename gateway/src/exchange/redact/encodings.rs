//! What a value may look like in an answer.
//!
//! Each form comes with a mask: a character that is valid where the form stands, so that JSON stays JSON and base64
//! stays base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sortie_proto::secret::Secret;
use zeroize::Zeroizing;

/// A shorter form would be found in ordinary text.
const PATTERN_MIN: usize = 8;

/// One form of a value.
pub(super) struct Pattern {
    pub(super) bytes: Secret,
    /// What each of its bytes is replaced with.
    pub(super) mask: u8,
}

/// The forms of a value, and of the base64 of what it is joined into. Each once.
pub(super) fn patterns(value: &Secret, joined: &[Secret]) -> Vec<Pattern> {
    let mut forms = Forms::default();
    forms.of_value(value.expose(), b'*');
    for whole in joined {
        forms.base64(whole.expose());
        for token in [
            STANDARD_NO_PAD.encode(whole.expose()),
            URL_SAFE_NO_PAD.encode(whole.expose()),
        ] {
            // The token stands in a header as it is, so it is echoed in the forms that a value is.
            let token = Zeroizing::new(token);
            forms.of_value(token.as_bytes(), b'x');
        }
    }
    forms
        .0
        .into_iter()
        .map(|(bytes, mask)| Pattern {
            bytes: Secret::new(bytes),
            mask,
        })
        .collect()
}

/// The patterns that can stand in a header's name (RFC 9110, 5.6.2), in lower case as names are. Each once.
pub(super) fn in_names<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Vec<Pattern> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let mut named: Vec<_> = patterns
        .filter(|pattern| pattern.bytes.expose().iter().all(is_token))
        .map(|pattern| Pattern {
            bytes: Secret::new(pattern.bytes.expose().to_ascii_lowercase()),
            mask: pattern.mask,
        })
        .collect();
    named.sort_by(|a, b| a.bytes.expose().cmp(b.bytes.expose()));
    named.dedup_by(|a, b| a.bytes.expose() == b.bytes.expose());
    named
}

#[derive(Default)]
struct Forms(BTreeMap<Vec<u8>, u8>);

impl Forms {
    /// The first form of the same bytes gives the mask: `*` is wrong in base64, while `x` is wrong nowhere but it
    /// reads worse.
    fn add(&mut self, bytes: impl Into<Vec<u8>>, mask: u8) {
        let bytes = bytes.into();
        if bytes.len() >= PATTERN_MIN {
            self.0.entry(bytes).or_insert(mask);
        }
    }

    fn of_value(&mut self, value: &[u8], raw: u8) {
        self.add(value, raw);
        self.base64(value);
        self.hexadecimal(value);
        self.percent(value);
        if let Ok(text) = std::str::from_utf8(value) {
            self.json(text);
            self.html(text);
        }
    }

    /// Base64 (RFC 4648, 4 and 5) of the value alone and inside a longer text, at each of the three alignments.
    fn base64(&mut self, value: &[u8]) {
        for before in 0..3 {
            let mut bytes = Zeroizing::new(vec![0; before]);
            bytes.extend_from_slice(value);
            // Characters that hold bits of what stands before, and those that hold bits of what may stand behind.
            let first = (before * 8).div_ceil(6);
            let stable = bytes.len() * 8 / 6;
            for text in [
                STANDARD_NO_PAD.encode(&*bytes),
                URL_SAFE_NO_PAD.encode(&*bytes),
            ] {
                for form in [text.get(first..stable), text.get(first..)] {
                    let form = form.unwrap_or_default();
                    self.add(form, b'x');
                    // As it stands in a URL, a form, or JSON that escapes slashes.
                    self.percent(form.as_bytes());
                    self.add(form.replace('/', "\\/"), b'*');
                }
            }
        }
    }

    fn hexadecimal(&mut self, value: &[u8]) {
        let digits = |upper| {
            value
                .iter()
                .flat_map(move |&byte| hex(byte, upper))
                .collect::<Vec<u8>>()
        };
        self.add(digits(false), b'0');
        self.add(digits(true), b'0');
    }

    /// Percent-encoding (RFC 3986, 2.1): all that is not unreserved; what JavaScript's `encodeURIComponent` encodes;
    /// and only what cannot stand in a path or a query. With `+` for spaces, as in forms.
    fn percent(&mut self, value: &[u8]) {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let component = move |byte: u8| unreserved(byte) || b"!'()*".contains(&byte);
        let form = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
        let minimal = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>%".contains(&byte);
        let keeps: [&dyn Fn(u8) -> bool; 4] = [&unreserved, &component, &form, &minimal];
        for (keep, upper) in keeps.iter().flat_map(|keep| [(keep, true), (keep, false)]) {
            let mut encoded = Vec::with_capacity(value.len() * 3);
            for &byte in value {
                let [high, low] = hex(byte, upper);
                let written = if keep(byte) {
                    &[byte][..]
                } else {
                    &[b'%', high, low]
                };
                encoded.extend_from_slice(written);
            }
            if value.contains(&b' ') {
                let plus = String::from_utf8_lossy(&encoded).replace("%20", "+");
                self.add(plus, b'*');
            }
            self.add(encoded, b'*');
        }
    }

    /// JSON strings (RFC 8259, 7): the short escapes or `\u` for all; slashes escaped (PHP) or not; `<>&'` escaped
    /// (Go) or not; ASCII only (Python) or not; digits in both cases.
    fn json(&mut self, text: &str) {
        for variant in 0_u8..32 {
            let on = |bit: u8| variant & (1 << bit) != 0;
            let (short, slash, html, ascii, upper) = (on(0), on(1), on(2), on(3), on(4));
            let mut escaped = String::with_capacity(text.len());
            for char in text.chars() {
                match (char, short_escape(char)) {
                    (_, Some(escape)) if short => escaped.extend(['\\', escape]),
                    ('/', _) if slash => escaped.push_str("\\/"),
                    (_, Some(_)) => push_unicode(&mut escaped, char, upper),
                    ('<' | '>' | '&' | '\'', _) if html => push_unicode(&mut escaped, char, upper),
                    _ if char < ' ' || char == '\u{7f}' && ascii || char > '\u{7f}' && ascii => {
                        push_unicode(&mut escaped, char, upper);
                    }
                    _ => escaped.push(char),
                }
            }
            self.add(escaped, b'*');
        }
    }

    /// HTML text and attributes: each of the usual spellings of quotes, or quotes as they are.
    fn html(&mut self, text: &str) {
        let base = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        for double in ["\"", "&quot;", "&#34;", "&#x22;"] {
            for single in ["'", "&#39;", "&#x27;", "&apos;", "&#039;"] {
                self.add(base.replace('"', double).replace('\'', single), b'*');
            }
        }
    }
}

fn short_escape(char: char) -> Option<char> {
    Some(match char {
        '"' | '\\' => char,
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        _ => return None,
    })
}

fn push_unicode(escaped: &mut String, char: char, upper: bool) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        let [high, low] = unit.to_be_bytes();
        escaped.push_str("\\u");
        escaped.extend(hex(high, upper).map(char::from));
        escaped.extend(hex(low, upper).map(char::from));
    }
}

fn hex(byte: u8, upper: bool) -> [u8; 2] {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ if upper => b'A' + nibble - 10,
        _ => b'a' + nibble - 10,
    };
    [digit(byte >> 4), digit(byte & 15)]
}
