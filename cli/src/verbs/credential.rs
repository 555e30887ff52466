//! `sortie credential`.
//!
//! Invariant: a value comes from a prompt without echo or from standard input, never from an argument. What JSON and
//! HTTP copy of it on the way is freed with the process, which ends right after.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::{Value, json};
use sortie_proto::credential::{VALUE_MAX, VALUE_MIN};
use sortie_proto::secret::Secret;

use super::wait::{Again, Wait};
use super::{InVault, Limit, Sure, in_vault};
use crate::ask;
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::{Column, cell};

pub(super) const EXAMPLE: &str = "\
Example:
  sortie credential set GITHUB_TOKEN --to api.github.com
  sortie credential list";

const COLUMNS: [Column; 6] = [
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("PLACEHOLDER", "/placeholder"),
    ("GOES TO", "/destinations"),
    ("UPDATED", "/updated_at"),
    ("REVOKED", "/revoked_at"),
];

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List credentials; values are never shown
    #[command(after_help = "Example:\n  sortie credential list --vault payments")]
    List {
        #[command(flatten)]
        vault: InVault,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a credential, or give it a new value; asks for the value
    #[command(
        after_help = "Examples:\n  sortie credential set GITHUB_TOKEN --to api.github.com\n  \
                            sortie credential set KEY --to a.example.com --to b.example.com < key.txt"
    )]
    Set {
        /// Its name: letters, digits and `_`
        name: String,
        /// Where it may be sent; give it once for each host
        #[arg(long, required = true, value_name = "HOST[:PORT]", value_parser = destination)]
        to: Vec<Value>,
        /// What stands for it in requests [default: `__NAME__`]
        #[arg(long, value_name = "TEXT")]
        placeholder: Option<String>,
        /// Read the value from standard input; one line end at its end is left out
        #[arg(long)]
        stdin: bool,
        #[command(flatten)]
        vault: InVault,
    },
    /// Erase its values: what needs it is refused until it is set again, and what is open is cut
    #[command(after_help = "Example:\n  sortie credential revoke GITHUB_TOKEN --wait --yes")]
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        vault: InVault,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        sure: Sure,
    },
    /// Delete a credential
    #[command(after_help = "Example:\n  sortie credential delete GITHUB_TOKEN --yes")]
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        vault: InVault,
        #[command(flatten)]
        sure: Sure,
    },
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let (client, out) = (&context.client, context.out);
    match act {
        Act::List { vault, limit } => {
            let path = in_vault(context, vault.name(context), &["credentials"]);
            out.list(
                &client.list(&path, "credentials", &[], limit.limit).await?,
                &COLUMNS,
            )
        }
        Act::Set {
            name,
            to,
            placeholder,
            stdin,
            vault,
        } => {
            let value = read_value(&name, stdin)?;
            let body = body(&value, &to, placeholder.as_deref());
            let path = in_vault(context, vault.name(context), &["credentials", &name]);
            let set = client.put(&path, &body).await?;
            let sentence = format!("set {name}, version {}", cell(&set, "/version"));
            out.done(&set, &sentence)
        }
        Act::Revoke {
            name,
            vault,
            wait,
            sure,
        } => {
            sure.ask(&format!("erase the value of credential `{name}`"))?;
            let path = in_vault(context, vault.name(context), &["credentials", &name]);
            let revoked = client.post(&path, ":revoke", &wait.body()).await?;
            wait.done(out, &revoked, (&format!("revoked {name}"), Again::Value))
        }
        Act::Delete { name, vault, sure } => {
            sure.ask(&format!("delete credential `{name}`"))?;
            let path = in_vault(context, vault.name(context), &["credentials", &name]);
            out.done(
                &client.delete(&path).await?,
                &format!("deleted credential {name}"),
            )
        }
    }
}

/// The body that sets a credential.
pub(crate) fn body(value: &Secret, destinations: &[Value], placeholder: Option<&str>) -> Value {
    let mut body = json!({
        "value_base64": STANDARD.encode(value.expose()),
        "destinations": destinations,
    });
    if let (Some(placeholder), Some(fields)) = (placeholder, body.as_object_mut()) {
        fields.insert("placeholder".to_owned(), placeholder.into());
    }
    body
}

/// Reads a value from standard input, where that is asked for or no terminal; otherwise asks for it without echo.
///
/// # Errors
/// [`Error::Failed`] if it is too short or too long, [`Error::System`] if it cannot be read.
pub(super) fn read_value(name: &str, stdin: bool) -> Result<Secret> {
    of_good_length(ask::secret(&format!("Value of {name}"), stdin, VALUE_MAX)?)
}

/// Reads a value from a file, as from standard input.
///
/// # Errors
/// As [`read_value`]'s, and [`Error::File`].
pub(super) fn read_file(path: &std::path::Path) -> Result<Secret> {
    of_good_length(ask::file(path, VALUE_MAX)?)
}

fn of_good_length(value: Secret) -> Result<Secret> {
    let (said, next) = match value.len() {
        VALUE_MIN..=VALUE_MAX => return Ok(value),
        length if length < VALUE_MIN => (
            format!("this one has {length}"),
            "Nothing was set. One so short could not be told from ordinary text in answers.",
        ),
        _ => ("this one has more".to_owned(), "Nothing was set."),
    };
    Err(Error::failed(
        format!("a value has {VALUE_MIN} to {VALUE_MAX} bytes; {said}"),
        next,
    ))
}

/// Reads `HOST` or `HOST:PORT`; an IPv6 address with a port stands in brackets.
pub(super) fn destination(text: &str) -> std::result::Result<Value, String> {
    let bare = text.parse::<std::net::Ipv6Addr>().is_ok();
    match text
        .rsplit_once(':')
        .filter(|(host, _)| !bare && !host.is_empty())
    {
        None if text.is_empty() || (text.starts_with(':') && !bare) => {
            Err("write HOST or HOST:PORT".to_owned())
        }
        None => Ok(json!({"host": text})),
        Some((_, port)) if text.starts_with('[') && port.ends_with(']') => {
            Ok(json!({"host": text}))
        }
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(json!({"host": host, "port": port})),
            _ => Err("a port is a number from 1 to 65535; no scheme, no path".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
