//! `sortie service suggest`: what agents asked for and no service covers, with the command that adds each.
//!
//! It reads the audit log: hosts that passed without credentials in a vault that observes, and hosts, methods and paths
//! that were refused for want of a service. Nothing is changed. `sortie run` takes its advice from here too.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};
use sortie_proto::catalog;
use sortie_proto::code::Code;
use sortie_proto::host::Host;

use crate::config::Context;
use crate::error::Result;
use crate::output::{Column, cell};
use crate::verbs::{InVault, audit, in_tenant};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie service suggest
  sortie service suggest --vault payments --since 7d -o json";

const COLUMNS: [Column; 6] = [
    ("HOST", "/host"),
    ("PASSED", "/passed"),
    ("REFUSED", "/refused"),
    ("METHODS", "/methods"),
    ("KNOWN AS", "/known_as"),
    ("COMMAND", "/command"),
];

/// How many entries are looked at: what a busy day of a vault leaves.
const ENTRIES_MAX: usize = 20_000;
/// How many methods are named before the rest is left out.
const METHODS_MAX: usize = 6;

/// Which part of the log.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    vault: InVault,
    /// From then: RFC 3339, or how long ago (15m, 12h, 7d)
    #[arg(long, default_value = "24h", value_parser = audit::moment, value_name = "TIME")]
    since: Timestamp,
    /// Only this session's
    #[arg(long)]
    session: Option<String>,
}

/// What was seen of one place.
#[derive(Debug, Default)]
struct Seen {
    passed: u64,
    refused: u64,
    methods: Vec<String>,
    paths: Vec<String>,
    /// A service covers the host, but not these requests.
    service: Option<String>,
}

/// Scheme, host and port.
type Place = (String, String, Option<u16>);

pub(super) async fn run(options: &Options, context: &Context) -> Result<()> {
    let vault = options.vault.name(context);
    let filter = [
        ("vault", vault.to_owned()),
        ("since", options.since.to_string()),
        ("session", options.session.clone().unwrap_or_default()),
        ("kind", "request".to_owned()),
    ];
    let path = in_tenant(context, &["audit"]);
    let entries = context
        .client
        .list(&path, "entries", &filter, ENTRIES_MAX)
        .await?;
    let rows = rows(&entries, (vault != context.vault).then_some(vault));
    if rows.is_empty() && !context.out.is_json() {
        context
            .out
            .note("nothing to suggest: services cover everything that agents asked for");
        return Ok(());
    }
    context.out.list(&rows, &COLUMNS)
}

/// What to add, the most asked for first.
fn rows(entries: &[Value], vault: Option<&str>) -> Vec<Value> {
    let mut places: BTreeMap<Place, Seen> = BTreeMap::new();
    for entry in entries {
        if let Some((place, path)) = wanting(entry) {
            let seen = places.entry(place).or_default();
            note(seen, entry, path);
        }
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.passed + seen.refused));
    places
        .iter()
        .map(|(place, seen)| row(place, seen, vault))
        .collect()
}

/// The command that covers requests to one place, from their entries in the log; `None` if no service would. `vault` is
/// named if commands would take another one.
pub(crate) fn command(entries: &[&Value], vault: Option<&str>) -> Option<String> {
    let (mut place, mut seen) = (None, Seen::default());
    for entry in entries {
        let (at, path) = wanting(entry)?;
        note(&mut seen, entry, path);
        place.get_or_insert(at);
    }
    let place = place?;
    Some(command_for(&place, &seen, &known(&place, &seen), vault))
}

/// The place and path of a request that no service covered.
fn wanting(entry: &Value) -> Option<(Place, String)> {
    /// Refusals for want of a service. A placeholder of the vault that goes to a host without one is such a want too.
    const WANTING: [Code; 3] = [
        Code::HostUnmatched,
        Code::RequestUnmatched,
        Code::PlaceholderUnresolved,
    ];
    let (code, is_uncovered) = (cell(entry, "/code"), cell(entry, "/service").is_empty());
    let is_unmatched = WANTING.iter().any(|wanting| wanting.name() == code)
        && (is_uncovered || code == Code::RequestUnmatched.name());
    let is_passed = cell(entry, "/outcome") == "passed" && is_uncovered;
    if !is_unmatched && !is_passed {
        return None;
    }
    let url = Url::parse(&cell(entry, "/url")).ok()?;
    // As strict as a service's host: it goes into a command that a person may paste.
    let host = Host::parse(url.host_str()?).ok()?.to_string();
    Some((
        (url.scheme().to_owned(), host, url.port()),
        url.path().to_owned(),
    ))
}

fn note(seen: &mut Seen, entry: &Value, path: String) {
    if cell(entry, "/outcome") == "passed" {
        seen.passed += 1;
    } else {
        seen.refused += 1;
    }
    let method = cell(entry, "/method");
    // A tunnel that was refused had no request in it yet. What a service could not name is left out: agents choose it.
    let is_plain = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_plain && method != "CONNECT" && !seen.methods.contains(&method) {
        seen.methods.push(method);
        seen.methods.sort();
    }
    if !seen.paths.contains(&path) {
        seen.paths.push(path);
    }
    let service = cell(entry, "/service");
    if !service.is_empty() {
        seen.service = Some(service);
    }
}

fn row(place: &Place, seen: &Seen, vault: Option<&str>) -> Value {
    let (scheme, host, port) = place;
    let known_as = known(place, seen);
    let command = command_for(place, seen, &known_as, vault);
    json!({
        "host": port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")),
        "scheme": scheme,
        "passed": seen.passed,
        "refused": seen.refused,
        "methods": seen.methods.iter().take(METHODS_MAX).collect::<Vec<_>>(),
        "covered_by": seen.service,
        "known_as": known_as,
        "command": command,
    })
}

fn command_for(place: &Place, seen: &Seen, known_as: &[String], vault: Option<&str>) -> String {
    let mut command = match known_as.first() {
        Some(name) => format!("sortie service add {name}"),
        None => by_hand(place, seen),
    };
    if let Some(vault) = vault {
        command.push_str(" --vault ");
        command.push_str(vault);
    }
    command
}

/// The bundles and packs that cover a place, the best first: a pack, where only reads were seen, then what is about the
/// API, then agents that use it.
fn known((scheme, host, port): &Place, seen: &Seen) -> Vec<String> {
    let Some(host) = Host::parse(host).ok().filter(|_| port.is_none()) else {
        return Vec::new();
    };
    let reads = |entry: &catalog::Entry| {
        let covers = |method: &String| entry.methods.contains(method);
        entry.covers(&host) && entry.scheme.name() == scheme && seen.methods.iter().all(covers)
    };
    let packs = catalog::packs_for_host(&host).filter(|pack| pack.services.iter().any(reads));
    let bundles = catalog::for_host(&host).filter(|_| scheme == "https");
    packs
        .map(|pack| format!("pack:{}", pack.name))
        .chain(bundles.map(|bundle| bundle.name.clone()))
        .collect()
}

/// The full command. It names no credential: which one belongs there only a person knows.
fn by_hand((scheme, host, port): &Place, seen: &Seen) -> String {
    // A name has 63 characters at most, and a second service's has a word more.
    let name: String = host
        .trim_start_matches("api.")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(58)
        .collect();
    let name = name.trim_matches('-').to_owned();
    if scheme == "http" {
        // Plain HTTP is for the file form alone, so that nobody opens it in passing.
        return format!(
            "echo '{{\"scheme\":\"http\",\"host\":\"{host}\"}}' | sortie service set {name} --file -"
        );
    }
    let name = seen
        .service
        .as_ref()
        .map_or(name, |service| format!("{service}-more"));
    let mut words = vec![format!("sortie service set {name} --host {host}")];
    words.extend(port.map(|port| format!("--port {port}")));
    let methods = seen.methods.iter().take(METHODS_MAX);
    words.extend(methods.map(|method| format!("--method {method}")));
    // An agent chose the path, and a person may paste the command: only what no shell reads otherwise goes in.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~-".contains(&byte);
    if let (Some(_), [path]) = (&seen.service, seen.paths.as_slice())
        && path.bytes().all(is_plain)
    {
        words.push(format!("--path {path}"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
