//! `hosts.yml` of `gh`: a host a block, and `oauth_token:` in it, once for each account.
//!
//! Only the shape that gh writes is read. A file of another shape yields nothing.

use sortie_proto::secret::Secret;

use super::{Encoding, Found, lines, slice, trim, unquote, word};

/// Finds the tokens.
pub(super) fn find(text: &[u8]) -> Vec<Found> {
    let mut host = None;
    let mut found = Vec::new();
    for (line, at) in lines(text) {
        let is_indented = slice(text, &at)
            .first()
            .is_some_and(u8::is_ascii_whitespace);
        let at = trim(text, at);
        let bytes = slice(text, &at);
        if bytes.is_empty() || bytes.starts_with(b"#") {
            continue;
        }
        if !is_indented {
            let name = unquote(text, at.start..at.end - usize::from(bytes.ends_with(b":")));
            host = bytes.ends_with(b":").then(|| word(text, &name));
            continue;
        }
        if !bytes.starts_with(b"oauth_token:") {
            continue;
        }
        let value = trim(text, at.start + b"oauth_token:".len()..at.end);
        let at = unquote(text, value);
        found.push(Found {
            line,
            key: "oauth_token".to_owned(),
            host: host.clone(),
            value: Secret::new(slice(text, &at).to_vec()),
            at,
            encoding: Encoding::Plain,
            is_certain: true,
            unsure: None,
        });
    }
    found
}
