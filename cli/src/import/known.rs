//! From what was found to credentials: what each is called in a vault, and where it may be sent.
//!
//! Invariants: one value is one credential, however often it was found. Two values never share a name. A destination
//! comes from the catalog or from the file's own word, never from a guess.

use std::ops::Range;

use serde_json::Value;
use sortie_proto::catalog::{self, Bundle, Needed};
use sortie_proto::host::Host;
use sortie_proto::secret::Secret;
use sortie_proto::service::is_name;

use super::format::{Encoding, Found, is_placeholder};
use super::place::File;
use crate::config;
use crate::verbs;

/// A secret that could be moved.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its name in the vault.
    pub(crate) name: String,
    /// What stands for it.
    pub(crate) placeholder: String,
    /// Where it may be sent; empty if nobody knows yet.
    pub(crate) to: Vec<Value>,
    /// The bundle that it belongs to.
    pub(crate) bundle: Option<&'static Bundle>,
    /// Whether it has the name that the bundle's services use.
    pub(crate) is_main: bool,
    /// The value.
    pub(crate) value: Secret,
    /// Where it was found.
    pub(crate) spots: Vec<Spot>,
    /// Why its file says nothing for sure.
    pub(crate) unsure: Option<&'static str>,
}

/// A place where a secret stands.
#[derive(Debug)]
pub(crate) struct Spot {
    /// Which of the files; none is the environment.
    pub(crate) file: Option<usize>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What it is called there.
    pub(crate) key: String,
    /// The bytes of the file that it takes.
    pub(crate) at: Range<usize>,
    /// How a placeholder stands there.
    pub(crate) encoding: Encoding,
}

/// What a secret is.
struct Meaning {
    name: String,
    unsure: Option<&'static str>,
    known: Option<(&'static Bundle, &'static Needed)>,
    host: Option<String>,
}

/// The candidates of files and, if wanted, of the environment.
pub(crate) fn candidates(files: &[File], with_environment: bool) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    // What is doubtful comes last, so that it takes nobody's name.
    let each = |is_sure: bool| {
        let all = files.iter().enumerate();
        all.flat_map(move |(index, file)| {
            let found = file.found.iter();
            found
                .filter(move |found| found.unsure.is_none() == is_sure)
                .map(move |found| (index, found))
        })
    };
    for (index, found) in each(true).chain(each(false)) {
        if let Some(meaning) = meaning(found) {
            let spot = Spot {
                file: Some(index),
                line: found.line,
                key: found.key.clone(),
                at: found.at.clone(),
                encoding: found.encoding,
            };
            push(&mut candidates, &meaning, &found.value, spot);
        }
    }
    if with_environment {
        for (key, value) in config::variables() {
            let key = key.to_string_lossy().into_owned();
            let value = Secret::new(std::os::unix::ffi::OsStringExt::into_vec(value));
            if let Some(meaning) = meaning_of_variable(&key, &value) {
                let spot = Spot {
                    file: None,
                    line: 0,
                    key,
                    at: 0..0,
                    encoding: Encoding::Plain,
                };
                push(&mut candidates, &meaning, &value, spot);
            }
        }
    }
    candidates
}

fn push(candidates: &mut Vec<Candidate>, meaning: &Meaning, value: &Secret, spot: Spot) {
    let same = candidates
        .iter_mut()
        .find(|known| known.unsure == meaning.unsure && known.value.same_as(value.expose()));
    let to = meaning.destinations();
    if let Some(same) = same {
        // The same value for another host: each file's word counts.
        for place in to {
            if !same.to.contains(&place) {
                same.to.push(place);
            }
        }
        same.spots.push(spot);
        return;
    }
    let wanted = meaning
        .known
        .map_or(&meaning.name, |(_, needed)| &needed.name);
    let taken = |name: &str| candidates.iter().any(|other| other.name == name);
    // A second value keeps the name that its file gives it, if that is another.
    let name = [wanted, &meaning.name]
        .into_iter()
        .find(|name| !taken(name))
        .cloned()
        .or_else(|| {
            (2..100)
                .map(|count| format!("{wanted}_{count}"))
                .find(|name| !taken(name))
        });
    let Some(name) = name else { return };
    let start = meaning.known.and_then(|(_, needed)| {
        let own = format!("__{}__", needed.name);
        needed.placeholder.strip_suffix(&own)
    });
    candidates.push(Candidate {
        placeholder: format!("{}__{name}__", start.unwrap_or_default()),
        is_main: meaning.known.is_some_and(|(_, needed)| needed.name == name),
        bundle: meaning.known.map(|(bundle, _)| bundle),
        to,
        value: Secret::new(value.expose().to_vec()),
        spots: vec![spot],
        unsure: meaning.unsure,
        name,
    });
}

impl Meaning {
    fn destinations(&self) -> Vec<Value> {
        match (self.known, &self.host) {
            (Some((bundle, needed)), _) => verbs::bundle_destinations(bundle, &needed.name),
            (None, Some(host)) => verbs::destination(host).into_iter().collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// What a secret of a file is; none if nothing says that it is one.
fn meaning(found: &Found) -> Option<Meaning> {
    let known = match &found.host {
        None => by_value(found).or_else(|| by_variable(found)),
        Some(host) => by_host(found, host),
    };
    let is_secret = known.is_some() || found.is_certain || is_secret(&found.key, &found.value);
    is_secret.then(|| Meaning {
        name: match (&found.host, found.is_certain) {
            (Some(host), _) => name_of(&format!("{host}_{}", suffix(&found.key))),
            (None, _) => name_of(&found.key),
        },
        unsure: found.unsure,
        known,
        host: found.host.clone(),
    })
}

type Known = Option<(&'static Bundle, &'static Needed)>;

fn by_value(found: &Found) -> Known {
    catalog::for_value(found.value.expose())
}

fn by_variable(found: &Found) -> Known {
    let fits = !found.is_certain && is_plausible(&found.value);
    fits.then(|| catalog::for_variable(&found.key)).flatten()
}

/// The file names the host: only a bundle that sends this credential there is meant. `_auth` and `_password` of npm are
/// a user's, where the bundles have tokens.
fn by_host(found: &Found, host: &str) -> Known {
    let host = Host::parse(host).ok()?;
    if matches!(found.key.as_str(), "_auth" | "_password") {
        return None;
    }
    catalog::for_host(&host).find_map(|bundle| {
        let entry = bundle.services.iter().find(|entry| entry.covers(&host))?;
        let needed = bundle.credential(entry.credentials().next()?)?;
        Some((bundle, needed))
    })
}

/// What a variable of the environment is: only what the catalog knows, for a shell has many variables.
fn meaning_of_variable(key: &str, value: &Secret) -> Option<Meaning> {
    if key.starts_with("SORTIE_") || is_placeholder(value.expose()) || !is_plausible(value) {
        return None;
    }
    let known = catalog::for_value(value.expose()).or_else(|| catalog::for_variable(key))?;
    Some(Meaning {
        name: name_of(key),
        unsure: None,
        known: Some(known),
        host: None,
    })
}

fn suffix(key: &str) -> &str {
    match key {
        "_authToken" | "oauth_token" => "TOKEN",
        "_auth" => "AUTH",
        _ => "PASSWORD",
    }
}

/// A name for a vault, from whatever a file calls it.
fn name_of(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name.truncate(60);
    if is_name(&name) {
        name
    } else {
        "SECRET".to_owned()
    }
}

/// Whether a variable's name says that its value is a secret, and the value could be one.
fn is_secret(key: &str, value: &Secret) -> bool {
    const WORDS: [&str; 12] = [
        "KEY",
        "APIKEY",
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASS",
        "PWD",
        "CREDENTIAL",
        "CREDENTIALS",
        "PAT",
        "PASSPHRASE",
    ];
    const OTHERWISE: [&str; 24] = [
        "PUBLIC",
        "PUBLISHABLE",
        "ID",
        "URL",
        "URI",
        "HOST",
        "PORT",
        "PATH",
        "FILE",
        "DIR",
        "NAME",
        "USER",
        "USERNAME",
        "EMAIL",
        "TTL",
        "EXPIRY",
        "EXPIRES",
        "LENGTH",
        "SIZE",
        "REGION",
        "ENDPOINT",
        "PREFIX",
        "COUNT",
        "ALGORITHM",
    ];
    let key = key.to_ascii_uppercase();
    let words: Vec<_> = key.split(['_', '-', '.']).collect();
    let named = words
        .iter()
        .any(|word| WORDS.contains(word) || word.ends_with("KEY"));
    let other = words
        .iter()
        .any(|word| matches!(*word, "PUBLIC" | "PUBLISHABLE"))
        || words.last().is_some_and(|last| OTHERWISE.contains(last));
    named && !other && is_plausible(value)
}

/// Whether a value could be a secret: templates and settings are none.
fn is_plausible(value: &Secret) -> bool {
    let Ok(text) = std::str::from_utf8(value.expose()) else {
        return true;
    };
    let lower = text.to_ascii_lowercase();
    let starts = [
        "<",
        "your-",
        "your_",
        "your ",
        "changeme",
        "change-me",
        "change_me",
        "xxxx",
        "replace-",
        "replace_",
        "replace ",
    ];
    let is_template = starts.iter().any(|start| lower.starts_with(start))
        || matches!(
            lower.as_str(),
            "yours" | "replace" | "replaceme" | "todo" | "none" | "null" | "true" | "false"
        );
    let is_place = lower.starts_with("http://")
        || lower.starts_with("https://")
        || lower.starts_with('/')
        || lower.starts_with("./");
    !text.is_empty() && !is_template && !is_place
}

#[cfg(test)]
mod tests;
