//! `sortie service`.

mod add;
mod shelf;
pub(crate) mod suggest;

pub(super) use self::add::destinations;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::limits::Limits;
use super::{InVault, Limit, Sure, in_vault};
use crate::config::Context;
use crate::error::{Error, Result};
use crate::output::{Column, Output, cell};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie service add github
  sortie service add pack:npm pack:github-read
  sortie service set legacy --host a.example.com --header 'X-Api-Key: {{ KEY }}'
  sortie service suggest
  sortie service list";

const COLUMNS: [Column; 7] = [
    ("NAME", "/name"),
    ("ENABLED", "/spec/enabled"),
    ("HOST", "/spec/host"),
    ("PORT", "/spec/port"),
    ("PATH", "/spec/path"),
    ("METHODS", "/spec/methods"),
    ("INJECTS", "/injects"),
];

/// The longest file of a specification, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// What can be done with services.
#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// List services
    #[command(after_help = "Example:\n  sortie service list --vault payments")]
    List {
        #[command(flatten)]
        vault: InVault,
        #[command(flatten)]
        limit: Limit,
    },
    /// Add what is known about a vendor: services, credentials, placeholders
    #[command(after_help = add::EXAMPLE)]
    Add(add::Options),
    /// List what `add` knows, or show one bundle or pack
    #[command(after_help = shelf::EXAMPLE)]
    Catalog {
        /// A bundle, or `pack:NAME` [default: all]
        name: Option<String>,
    },
    /// Turn what agents asked for into services
    #[command(after_help = suggest::EXAMPLE)]
    Suggest(suggest::Options),
    /// Make a service, or replace it
    #[command(after_help = SET_EXAMPLE)]
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        spec: Box<Spec>,
        #[command(flatten)]
        vault: InVault,
    },
    /// Show a service
    #[command(after_help = "Example:\n  sortie service get github")]
    Get {
        /// Its id or name
        name: String,
        #[command(flatten)]
        vault: InVault,
    },
    /// Switch a service on
    #[command(after_help = "Example:\n  sortie service enable github")]
    Enable {
        /// Its id or name
        name: String,
        #[command(flatten)]
        vault: InVault,
    },
    /// Switch a service off: what it covers is refused
    #[command(after_help = "Example:\n  sortie service disable github --vault payments")]
    Disable {
        /// Its id or name
        name: String,
        #[command(flatten)]
        vault: InVault,
    },
    /// Delete a service
    #[command(after_help = "Example:\n  sortie service delete github --yes")]
    Delete {
        /// Its id or name
        name: String,
        #[command(flatten)]
        vault: InVault,
        #[command(flatten)]
        sure: Sure,
    },
}

const SET_EXAMPLE: &str = "\
Examples:
  sortie service set github --host api.github.com --bearer GITHUB_TOKEN
  sortie service set git --host github.com --basic x-access-token:GITHUB_TOKEN
  sortie service set acme --host github.com --path '/acme/**' --method GET
  sortie service set legacy --host a.example.com --header 'X-Api-Key: {{ KEY }}'
  sortie service set npm --host c.example.com --bearer KEY --encoded-slash
  sortie service set search --host b.example.com --placeholder KEY --in query
  sortie service set slow --host d.example.com --bearer KEY --limit requests=5/second
  sortie service set github --file github.json

docs/services.md describes every field of a file.";

/// A service, as arguments.
#[derive(Debug, Default, Args)]
pub(crate) struct Spec {
    /// The host: a name, an address, or `*.` in front of a name
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    host: Option<String>,
    /// The port [default: the scheme's own]
    #[arg(long, conflicts_with = "file")]
    port: Option<u16>,
    /// Send `Authorization: Bearer VALUE`
    #[arg(long, value_name = "CREDENTIAL", conflicts_with = "file")]
    bearer: Option<String>,
    /// Send `Authorization: Basic` with this user name and the credential as the password
    #[arg(long, value_name = "USER:CREDENTIAL", conflicts_with = "file")]
    basic: Option<String>,
    /// Send a header made from a template; may be repeated
    #[arg(long, value_name = "NAME: TEMPLATE", conflicts_with = "file")]
    header: Vec<String>,
    /// Send a query parameter; may be repeated
    #[arg(long, value_name = "NAME=CREDENTIAL", conflicts_with = "file")]
    query: Vec<String>,
    /// Replace this credential's placeholder where the agent puts it; may be repeated
    #[arg(long, value_name = "CREDENTIAL", conflicts_with = "file")]
    placeholder: Vec<String>,
    /// Where placeholders are looked for [default: header]
    #[arg(
        long = "in",
        value_enum,
        value_delimiter = ',',
        requires = "placeholder"
    )]
    surfaces: Vec<Surface>,
    /// Only these methods; may be repeated [default: all]
    #[arg(long, value_name = "METHOD", conflicts_with = "file")]
    method: Vec<String>,
    /// Only these paths: segments, `*` for one, `/**` at the end for all below [default: /**]
    #[arg(long, value_name = "PATTERN", conflicts_with = "file")]
    path: Option<String>,
    /// Let `%2F` stand inside a path segment: npm's scoped packages, GitLab's projects
    #[arg(long, conflicts_with = "file")]
    encoded_slash: bool,
    #[command(flatten)]
    limits: Limits,
    /// Switch it off
    #[arg(long, conflicts_with = "file")]
    disabled: bool,
    /// Read the whole specification as JSON; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "limits")]
    file: Option<PathBuf>,
}

/// A part of a request in which placeholders are looked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Surface {
    /// Header values
    Header,
    /// Path segments
    Path,
    /// Values of the query
    Query,
}

impl Surface {
    const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

/// What needs no control.
pub(super) fn run_alone(act: &Act, out: Output) -> Option<Result<()>> {
    match act {
        Act::Catalog { name } => Some(shelf::show(name.as_deref(), out)),
        Act::List { .. }
        | Act::Add(_)
        | Act::Suggest(_)
        | Act::Set { .. }
        | Act::Get { .. }
        | Act::Enable { .. }
        | Act::Disable { .. }
        | Act::Delete { .. } => None,
    }
}

pub(super) async fn run(act: Act, context: &Context) -> Result<()> {
    let (client, out) = (&context.client, context.out);
    match act {
        Act::Add(options) => add::run(&options, context).await,
        Act::Catalog { name } => shelf::show(name.as_deref(), out),
        Act::Suggest(options) => suggest::run(&options, context).await,
        Act::List { vault, limit } => {
            let path = in_vault(context, vault.name(context), &["services"]);
            let mut services = client.list(&path, "services", &[], limit.limit).await?;
            if !out.is_json() {
                services.iter_mut().for_each(summarise);
            }
            out.list(&services, &COLUMNS)
        }
        Act::Set { name, spec, vault } => {
            let path = in_vault(context, vault.name(context), &["services", &name]);
            let set = client.put(&path, &spec.body()?).await?;
            out.done(&set, &format!("set service {name}"))?;
            warn(&set);
            Ok(())
        }
        Act::Get { name, vault } => {
            let path = in_vault(context, vault.name(context), &["services", &name]);
            let mut service = client.get(&path).await?;
            if !out.is_json() {
                summarise(&mut service);
            }
            out.object(&service, &COLUMNS)
        }
        Act::Enable { name, vault } => switch(context, vault.name(context), &name, true).await,
        Act::Disable { name, vault } => switch(context, vault.name(context), &name, false).await,
        Act::Delete { name, vault, sure } => {
            sure.ask(&format!("delete service `{name}`"))?;
            let path = in_vault(context, vault.name(context), &["services", &name]);
            out.done(
                &client.delete(&path).await?,
                &format!("deleted service {name}"),
            )
        }
    }
}

/// Says what keeps agents from using a service that was set: a credential that is not there yet, or may not go there.
fn warn(service: &Value) {
    let warnings = service.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        crate::output::complain(warning);
    }
}

/// Sets `enabled` and leaves the rest of a service as it is.
async fn switch(context: &Context, vault: &str, name: &str, enabled: bool) -> Result<()> {
    let path = in_vault(context, vault, &["services", name]);
    let service = context.client.get(&path).await?;
    let spec = service.get("spec").and_then(Value::as_object).cloned();
    let mut spec = spec.ok_or_else(|| {
        Error::failed(
            "control's answer holds no service",
            "Is control of the same version?",
        )
    })?;
    spec.insert("enabled".to_owned(), enabled.into());
    // By its name: a service that is put by its id would be another one.
    let known = cell(&service, "/name");
    let path = in_vault(context, vault, &["services", &known]);
    let set = context.client.put(&path, &Value::Object(spec)).await?;
    let word = if enabled { "on" } else { "off" };
    context
        .out
        .done(&set, &format!("switched service {known} {word}"))
}

/// Says in a few words what a service puts into requests.
fn summarise(service: &mut Value) {
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let how = service.pointer("/spec/inject").and_then(Value::as_array);
    let mut words: Vec<String> = how
        .into_iter()
        .flatten()
        .map(|how| match text(how, "type").as_str() {
            "header" => format!("header {}", text(how, "name")),
            kind => format!("{kind} {}", text(how, "credential")),
        })
        .collect();
    let placeholders = service
        .pointer("/spec/placeholders/credentials")
        .and_then(Value::as_array);
    words.extend(
        placeholders
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|name| format!("placeholder {name}")),
    );
    if let Some(fields) = service.as_object_mut() {
        fields.insert("injects".to_owned(), words.into());
    }
}

impl Spec {
    /// The body that sets the service.
    fn body(&self) -> Result<Value> {
        if let Some(path) = &self.file {
            return read_spec(path);
        }
        let mut body = Map::new();
        body.insert("host".to_owned(), self.host.clone().into());
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("port", self.port.map(Value::from));
        put("path", self.path.clone().map(Value::from));
        put(
            "encoded_slash",
            self.encoded_slash.then_some(Value::from(true)),
        );
        put("limits", self.limits.field());
        put("enabled", self.disabled.then_some(Value::from(false)));
        let methods: Vec<_> = self
            .method
            .iter()
            .map(|name| name.to_ascii_uppercase())
            .collect();
        put("methods", (!methods.is_empty()).then(|| methods.into()));
        put("inject", Some(self.inject()?.into()));
        put("placeholders", self.placeholders());
        Ok(Value::Object(body))
    }

    fn inject(&self) -> Result<Vec<Value>> {
        let mut inject = Vec::new();
        if let Some(credential) = &self.bearer {
            inject.push(json!({"type": "bearer", "credential": credential}));
        }
        if let Some(text) = &self.basic {
            let (username, credential) = split(text, ':', "--basic USER:CREDENTIAL")?;
            inject.push(json!({"type": "basic", "username": username, "credential": credential}));
        }
        for text in &self.header {
            let (name, template) = split(text, ':', "--header 'NAME: TEMPLATE'")?;
            let (name, template) = (name.trim(), template.trim());
            inject.push(json!({"type": "header", "name": name, "template": template}));
        }
        for text in &self.query {
            let (name, credential) = split(text, '=', "--query NAME=CREDENTIAL")?;
            inject.push(json!({"type": "query", "name": name, "credential": credential}));
        }
        Ok(inject)
    }

    fn placeholders(&self) -> Option<Value> {
        let mut surfaces: Vec<_> = self.surfaces.iter().map(|surface| surface.name()).collect();
        if surfaces.is_empty() {
            surfaces.push(Surface::Header.name());
        }
        (!self.placeholder.is_empty())
            .then(|| json!({"credentials": self.placeholder, "surfaces": surfaces}))
    }
}

fn split<'a>(text: &'a str, at: char, usage: &str) -> Result<(&'a str, &'a str)> {
    text.split_once(at)
        .ok_or_else(|| Error::Usage(format!("`{text}` has no `{at}`: write {usage}")))
}

fn read_spec(path: &std::path::Path) -> Result<Value> {
    use std::io::Read as _;

    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(FILE_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
    };
    read.map_err(|source| Error::file("read", path, source))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
