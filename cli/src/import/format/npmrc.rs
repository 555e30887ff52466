//! `.npmrc`: `//registry.example.com/path/:_authToken=…`, and the older `_auth` and `_password`.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sortie_proto::secret::Secret;

use super::{Encoding, Found, lines, pair, slice, unquote, word};

/// Where npm publishes if the file names no registry.
const DEFAULT: &str = "registry.npmjs.org";

/// Finds tokens and passwords.
pub(super) fn find(text: &[u8]) -> Vec<Found> {
    lines(text)
        .filter_map(|(line, at)| read(text, line, &at))
        .collect()
}

fn read(text: &[u8], line: usize, at: &Range<usize>) -> Option<Found> {
    let (key, value) = pair(text, at)?;
    let key = word(text, &key);
    if key.starts_with([';', '#']) {
        return None;
    }
    let at = unquote(text, value);
    let raw = slice(text, &at);
    // `${NPM_TOKEN}`: the secret is elsewhere.
    if raw.starts_with(b"${") {
        return None;
    }
    let (place, setting) = key.rsplit_once(':').unwrap_or(("", &key));
    let setting = setting.to_owned();
    let host = match place.strip_prefix("//") {
        Some(rest) => rest.split('/').next().unwrap_or_default().to_owned(),
        None => DEFAULT.to_owned(),
    };
    // npm takes the base64 off a password, and sends `_auth`, which holds a user's name too, as it is.
    let (encoding, value) = match setting.as_str() {
        "_authToken" | "_auth" => (Encoding::Plain, raw.to_vec()),
        "_password" => (Encoding::Base64, STANDARD.decode(raw).ok()?),
        _ => return None,
    };
    Some(Found {
        line,
        key: setting,
        host: Some(host),
        at,
        value: Secret::new(value),
        encoding,
        is_certain: true,
        unsure: None,
    })
}
