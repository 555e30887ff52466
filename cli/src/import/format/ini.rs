//! Sections of `key = value`: the AWS tools' `credentials`, and `.pypirc`.

use sortie_proto::secret::Secret;

use super::{Encoding, Found, lines, pair, slice, trim, word};

/// What to look for in one kind of such file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The keys whose values are secrets.
    keys: &'static [&'static str],
    /// The section whose host is known, and the host.
    host: Option<(&'static str, &'static str)>,
}

/// The AWS tools' `credentials`. An access key's id is no secret.
pub(super) const AWS: Kind = Kind {
    keys: &["aws_secret_access_key", "aws_session_token"],
    host: None,
};

/// `.pypirc`.
pub(super) const PYPIRC: Kind = Kind {
    keys: &["password"],
    host: Some(("pypi", "upload.pypi.org")),
};

/// Finds the values of the kind's keys.
pub(super) fn find(text: &[u8], kind: Kind) -> Vec<Found> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (line, at) in lines(text) {
        let at = trim(text, at);
        match slice(text, &at) {
            [b'#' | b';', ..] => continue,
            [b'[', .., b']'] => {
                section = word(text, &trim(text, at.start + 1..at.end - 1));
                continue;
            }
            _ => {}
        }
        let Some((key, value)) = pair(text, &at) else {
            continue;
        };
        let key = word(text, &key).to_ascii_lowercase();
        if !kind.keys.contains(&key.as_str()) {
            continue;
        }
        found.push(Found {
            line,
            key: if kind.host.is_none() {
                in_profile(&section, &key)
            } else {
                key
            },
            host: kind
                .host
                .filter(|(name, _)| section == *name)
                .map(|(_, host)| host.to_owned()),
            value: Secret::new(slice(text, &value).to_vec()),
            at: value,
            encoding: Encoding::Plain,
            is_certain: true,
            unsure: None,
        });
    }
    found
}

/// Profiles have the same keys: all but the default one's are told apart by the profile's name.
fn in_profile(section: &str, key: &str) -> String {
    if section.is_empty() || section == "default" {
        key.to_owned()
    } else {
        format!("{key}_{section}")
    }
}
