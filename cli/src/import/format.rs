//! The files that hold secrets: which they are, and where in them each secret stands.
//!
//! Invariants: a parser is total: whatever bytes it is given, it finds something or nothing and never panics. It says
//! which bytes to replace, and everything else of a file stays as it is, byte for byte. What it cannot read for sure
//! (a reference to another variable, a quote that never ends) it says to be unsure of.

mod dotenv;
mod hosts;
mod ini;
mod netrc;
mod npmrc;
mod store;

use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sortie_proto::secret::Secret;

/// A secret in a file.
#[derive(Debug)]
pub(crate) struct Found {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What the file calls it: a variable, or a key.
    pub(crate) key: String,
    /// The host that it is for, if the file says so: a name, with a port where there is one.
    pub(crate) host: Option<String>,
    /// The bytes that a placeholder takes the place of.
    pub(crate) at: Range<usize>,
    /// The value, with escapes and encodings undone.
    pub(crate) value: Secret,
    /// How a placeholder has to stand there.
    pub(crate) encoding: Encoding,
    /// Whether the file's format says that it is a secret. In others the name or the value has to.
    pub(crate) is_certain: bool,
    /// Why it is shown, but never replaced: nobody can say for sure what the value is, or its file cannot be changed.
    pub(crate) unsure: Option<&'static str>,
}

/// How a value stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is. Placeholders have no character that any of the formats would escape.
    Plain,
    /// In base64, which the client undoes.
    Base64,
}

impl Encoding {
    /// A placeholder as it has to stand in the file.
    pub(crate) fn write(self, placeholder: &str) -> String {
        match self {
            Self::Plain => placeholder.to_owned(),
            Self::Base64 => STANDARD.encode(placeholder),
        }
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `.env` and its kin.
    Dotenv,
    /// npm's `.npmrc`.
    Npmrc,
    /// `.netrc`.
    Netrc,
    /// The AWS tools' `credentials`.
    Aws,
    /// `.pypirc`.
    Pypirc,
    /// `hosts.yml` of GitHub's `gh`.
    Hosts,
    /// Git's credential store.
    Store,
}

impl Format {
    /// The format of a file, by its name and folder.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let folder = path
            .parent()
            .and_then(Path::file_name)
            .and_then(|folder| folder.to_str());
        match (name, folder) {
            (".npmrc", _) => Some(Self::Npmrc),
            (".netrc" | "_netrc", _) => Some(Self::Netrc),
            (".pypirc", _) => Some(Self::Pypirc),
            ("credentials", Some(".aws")) => Some(Self::Aws),
            ("hosts.yml", _) => Some(Self::Hosts),
            (".git-credentials", _) | ("credentials", Some("git")) => Some(Self::Store),
            _ if is_dotenv(name) => Some(Self::Dotenv),
            _ => None,
        }
    }

    /// The secrets of a file, in the order in which they stand there.
    pub(crate) fn find(self, text: &[u8]) -> Vec<Found> {
        let mut found = match self {
            Self::Dotenv => dotenv::find(text),
            Self::Npmrc => npmrc::find(text),
            Self::Netrc => netrc::find(text),
            Self::Aws => ini::find(text, ini::AWS),
            Self::Pypirc => ini::find(text, ini::PYPIRC),
            Self::Hosts => hosts::find(text),
            Self::Store => store::find(text),
        };
        found.retain(|found| !found.value.is_empty() && !is_placeholder(found.value.expose()));
        found
    }
}

/// `.env`, `.env.local`, `.env.production`, and direnv's `.envrc`: but no templates, and nothing of ours or an editor's.
fn is_dotenv(name: &str) -> bool {
    const OTHERS: [&str; 10] = [
        "example",
        "sample",
        "template",
        "dist",
        "defaults",
        "schema",
        "swp",
        "bak",
        "orig",
        "sortie-import",
    ];
    let is_named = matches!(name, ".env" | ".envrc") || name.starts_with(".env.");
    let last = name.rsplit('.').next().unwrap_or_default();
    is_named && !name.ends_with('~') && !OTHERS.contains(&last)
}

/// Whether a value is what an earlier import has left there: it holds `__NAME__`.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let inner = text
        .split_once("__")
        .and_then(|(_, rest)| rest.trim_start_matches('_').strip_suffix("__"));
    inner.is_some_and(|name| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_uppercase())
            && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

// === What parsers share ===

/// The lines of a file: the number from 1, and where the line stands, without its end.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = 0;
    text.split_inclusive(|&byte| byte == b'\n')
        .enumerate()
        .map(move |(index, line)| {
            let at = start..start + without_end(line).len();
            start += line.len();
            (index + 1, at)
        })
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The bytes of a range; a range that is none has none.
pub(super) fn slice<'a>(text: &'a [u8], at: &Range<usize>) -> &'a [u8] {
    text.get(at.clone()).unwrap_or_default()
}

/// A range without the white space around it.
pub(super) fn trim(text: &[u8], at: Range<usize>) -> Range<usize> {
    let bytes = slice(text, &at);
    let start = at.start + (bytes.len() - bytes.trim_ascii_start().len());
    let end = at.end - (bytes.len() - bytes.trim_ascii_end().len());
    // All white space: both ends meet.
    start.min(end)..end
}

/// `KEY = VALUE` of one line: where the key and the value stand, both trimmed.
pub(super) fn pair(text: &[u8], at: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let middle = at.start + slice(text, at).iter().position(|&byte| byte == b'=')?;
    Some((trim(text, at.start..middle), trim(text, middle + 1..at.end)))
}

/// A value without the quotes around it, if it has any.
pub(super) fn unquote(text: &[u8], at: Range<usize>) -> Range<usize> {
    match slice(text, &at) {
        [b'"', .., b'"'] | [b'\'', .., b'\''] => at.start + 1..at.end - 1,
        _ => at,
    }
}

/// Text for people; what is no UTF-8 is shown as such.
pub(super) fn word(text: &[u8], at: &Range<usize>) -> String {
    String::from_utf8_lossy(slice(text, at)).into_owned()
}

#[cfg(test)]
mod tests;
