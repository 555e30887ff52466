//! An environment in the words of those who read it, each value quoted so that it comes out as it went in. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::run::trust::{AUTHORITY, BUNDLE, STORE, Trust};

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// sh, bash, zsh: `eval "$(sortie env)"`
    Sh,
    /// fish: `sortie env --format fish | source`
    Fish,
    /// An object, with the session's id and end
    Json,
    /// A file `.env`, as Docker Compose and the libraries of that name read it
    Dotenv,
    /// A file for `docker run --env-file`
    Docker,
    /// A Secret and a `ConfigMap` with the certificates
    Kubernetes,
}

impl Format {
    /// Whether it changes an environment that is there.
    pub(crate) const fn is_shell(self) -> bool {
        matches!(self, Self::Sh | Self::Fish)
    }
}

/// A line for each variable that is set, and for each that is taken away where the format can say so.
///
/// # Errors
/// [`Error::Failed`] for a value that the format cannot hold.
pub(super) fn lines(format: Format, set: &[(String, String)], unset: &[String]) -> Result<String> {
    let mut text = String::new();
    for (name, value) in set {
        text.push_str(&line(format, name, value)?);
        text.push('\n');
    }
    for name in unset.iter().filter(|name| is_identifier(name)) {
        match format {
            Format::Sh => text.push_str(&["unset ", name, "\n"].concat()),
            Format::Fish => text.push_str(&["set -e ", name, "\n"].concat()),
            Format::Json | Format::Dotenv | Format::Docker | Format::Kubernetes => {}
        }
    }
    Ok(text)
}

fn line(format: Format, name: &str, value: &str) -> Result<String> {
    let cannot = |why: &str| {
        Err(Error::failed(
            format!("{name} {why}"),
            "--format json holds every value.",
        ))
    };
    if !is_identifier(name) {
        return cannot("is no name that this format can hold");
    }
    Ok(match format {
        Format::Sh => format!("export {name}={}", sh(value)),
        Format::Fish => format!("set -gx {name} {}", fish(value)),
        Format::Dotenv => match dotenv(value) {
            Some(quoted) => format!("{name}={quoted}"),
            None => {
                return cannot(
                    "has quotes and escapes that readers of such a file take in different ways",
                );
            }
        },
        // Docker takes everything behind the equals sign as it is, quotes too, and ends a value at the line's end.
        Format::Docker if value.contains(['\n', '\r']) => {
            return cannot("has a line break, which `docker run --env-file` cannot hold");
        }
        Format::Docker => format!("{name}={value}"),
        Format::Json | Format::Kubernetes => format!("{}: {}", json(name), json(value)),
    })
}

/// What a shell takes for a name, and nothing that it would run.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Between single quotes everything is itself but the single quote (POSIX, 2.2.2).
fn sh(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Between single quotes fish knows two escapes: of the quote and of the backslash.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Plain, or between the quotes in which every reader takes this value as it is; `None` where there are none. Readers
/// differ about escapes: Node.js undoes one of them, Python's library some, Docker Compose others, and `$` besides.
fn dotenv(value: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@%+,=~".contains(c);
    if value.chars().all(is_plain) {
        return Some(value.to_owned());
    }
    let is_escape = value.contains(r"\\") || value.ends_with('\\');
    if !value.contains(['\'', '\r']) && !is_escape {
        return Some(format!("'{value}'"));
    }
    let is_literal = !value.contains(['"', '\\', '$', '`', '\n', '\r']);
    is_literal.then(|| format!("\"{value}\""))
}

/// A string in JSON, which is one in YAML 1.2 too.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a pod needs.
#[derive(Debug)]
pub(super) struct Manifest<'a> {
    /// Of both objects.
    pub(super) name: &'a str,
    /// Where the certificates are mounted.
    pub(super) mount: &'a str,
    /// When the session ends.
    pub(super) ends: &'a str,
    pub(super) trust: &'a Trust,
}

impl Manifest<'_> {
    /// The manifest, in YAML.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that Kubernetes does not take.
    pub(super) fn render(&self, set: &[(String, String)]) -> Result<String> {
        let name = self.name;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        let bytes = name.as_bytes();
        let is_name = name.len() <= 63 && bytes.iter().copied().all(fits);
        if !is_name || !is_edge(bytes.first()) || !is_edge(bytes.last()) {
            return Err(Error::Usage(format!(
                "`{name}` is no name of an object: up to 63 lower-case letters, digits and hyphens"
            )));
        }
        let data: String = set
            .iter()
            .map(|(name, value)| format!("  {}: {}\n", json(name), json(value)))
            .collect();
        Ok([self.head(), data, self.certificates()].concat())
    }

    fn head(&self) -> String {
        let Self {
            name, mount, ends, ..
        } = self;
        format!(
            "# The session ends at {ends}. The certificates are too long for a client-side apply:\n\
             #   kubectl apply --server-side -f FILE\n\
             # In the pod:\n\
             #   volumes:\n\
             #     - name: sortie\n\
             #       configMap: {{ name: {name} }}\n\
             #   containers:\n\
             #     - envFrom:\n\
             #         - secretRef: {{ name: {name} }}\n\
             #       volumeMounts:\n\
             #         - {{ name: sortie, mountPath: {mount}, readOnly: true }}\n\
             apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: Opaque\nstringData:\n"
        )
    }

    fn certificates(&self) -> String {
        let block = |content: &str| -> String {
            let lines = content.trim_end().lines();
            lines.map(|line| format!("    {line}\n")).collect()
        };
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\ndata:\n  {AUTHORITY}: |\n{}  {BUNDLE}: |\n{}\
             binaryData:\n  {STORE}: {}\n",
            self.name,
            block(&self.trust.authority),
            block(&self.trust.bundle),
            STANDARD.encode(&self.trust.store),
        )
    }
}

#[cfg(test)]
mod tests;
