//! What happened while the command ran: which hosts were brokered, passed, refused, and what would add them.
//!
//! Invariants: it goes to standard error, since standard output is the command's. Gateways ship entries with a delay:
//! the log is read until it does not grow any more, and where that was not seen, this is said.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_proto::code::Code;
use tokio::time::{Instant, sleep};

use crate::config::Context;
use crate::error::Result;
use crate::output::{cell, printable};
use crate::verbs::{in_tenant, suggest};

/// How many entries are read at most.
const ENTRIES_MAX: usize = 5000;
/// How many hosts of each kind people are shown.
const SHOWN_MAX: usize = 20;
/// How long the log is waited for at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it must not have grown: gateways ship ten times a second.
const CALM: Duration = Duration::from_millis(750);
const POLL: Duration = Duration::from_millis(100);
/// The host that the gateway answers for itself.
const OWN_HOST: &str = "sortie.internal";

/// What became of requests. In the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Brokered,
    Tunnelled,
    Passed,
    Refused,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Brokered, Self::Tunnelled, Self::Passed, Self::Refused];

    const fn name(self) -> &'static str {
        match self {
            Self::Brokered => "brokered",
            Self::Tunnelled => "tunnelled",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

/// Requests to one host that had the same fate for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    fate: Fate,
    /// `host`, or `host:port` where the port is not HTTPS's own.
    target: String,
    service: String,
    /// The name of the [`Code`].
    code: String,
    count: usize,
    /// The command that would let such requests through, where one would.
    command: Option<String>,
}

/// What happened in a session.
#[derive(Debug)]
pub(super) struct Summary {
    session: String,
    lines: Vec<Line>,
    is_complete: bool,
}

/// Reads the log of a session, from a time on, until it is calm. `vault` is the one that commands have to name.
///
/// # Errors
/// As calls of control.
pub(super) async fn read(
    session: &str,
    since: Option<Timestamp>,
    vault: &str,
    context: &Context,
) -> Result<Summary> {
    let started = Instant::now();
    let (mut entries, mut grown) = (Vec::new(), started);
    let is_calm = loop {
        let read = list(session, since, context).await?;
        let now = Instant::now();
        if read.len() != entries.len() {
            grown = now;
        }
        entries = read;
        if now - grown >= CALM {
            break true;
        }
        if now - started >= PATIENCE {
            break false;
        }
        sleep(POLL).await;
    };
    Ok(Summary {
        session: session.to_owned(),
        lines: lines(&entries, vault),
        is_complete: is_calm && entries.len() < ENTRIES_MAX,
    })
}

async fn list(session: &str, since: Option<Timestamp>, context: &Context) -> Result<Vec<Value>> {
    let filter = [
        ("session", session.to_owned()),
        ("kind", "request".to_owned()),
        (
            "since",
            since.map(|time| time.to_string()).unwrap_or_default(),
        ),
    ];
    let path = in_tenant(context, &["audit"]);
    context
        .client
        .list(&path, "entries", &filter, ENTRIES_MAX)
        .await
}

/// Entries, grouped. `vault` is named in commands; it is empty where commands find it by themselves.
fn lines(entries: &[Value], vault: &str) -> Vec<Line> {
    let mut groups: Vec<(Line, Vec<&Value>)> = Vec::new();
    for entry in entries {
        let Some(line) = line(entry) else {
            continue;
        };
        let same = groups.iter_mut().find(|(other, _)| {
            (other.fate, &other.target, &other.service, &other.code)
                == (line.fate, &line.target, &line.service, &line.code)
        });
        match same {
            Some((_, group)) => group.push(entry),
            None => groups.push((line, vec![entry])),
        }
    }
    let vault = (!vault.is_empty()).then_some(vault);
    let finished = groups.into_iter().map(|(line, group)| Line {
        count: group.len(),
        command: suggest::command(&group, vault),
        ..line
    });
    let mut lines: Vec<_> = finished.collect();
    lines.sort_by(|a, b| {
        (a.fate, std::cmp::Reverse(a.count), &a.target).cmp(&(
            b.fate,
            std::cmp::Reverse(b.count),
            &b.target,
        ))
    });
    lines
}

/// What an entry says, on its own.
fn line(entry: &Value) -> Option<Line> {
    let outcome = cell(entry, "/outcome");
    let fate = Fate::ALL.into_iter().find(|fate| fate.name() == outcome)?;
    let url = reqwest::Url::parse(&cell(entry, "/url")).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or("?");
    if host == OWN_HOST {
        // The gateway's own pages, which `sortie doctor` asks for by the dozen, are no host of anybody's.
        return None;
    }
    let mut code = cell(entry, "/code");
    if code == Code::ClientGone.name() {
        // Clients leave a stream that has told them all: nobody has to do anything about it.
        code.clear();
    }
    Some(Line {
        fate,
        target: match url.as_ref().and_then(reqwest::Url::port) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        },
        service: cell(entry, "/service"),
        code,
        count: 1,
        command: None,
    })
}

impl Summary {
    /// Prints it on standard error.
    pub(super) fn print(&self, context: &Context) {
        if context.out.is_json() {
            return context.out.note(&self.json().to_string());
        }
        for line in self.text() {
            context.out.note(&printable(&line, false));
        }
    }

    fn json(&self) -> Value {
        let hosts: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "outcome": line.fate.name(),
                    "host": line.target,
                    "requests": line.count,
                    "service": line.service,
                    "code": line.code,
                    "command": line.command,
                })
            })
            .collect();
        json!({"session": self.session, "complete": self.is_complete, "hosts": hosts})
    }

    fn text(&self) -> Vec<String> {
        let counts: Vec<_> = Fate::ALL
            .into_iter()
            .filter_map(|fate| {
                let all = self.lines.iter().filter(|line| line.fate == fate);
                let count: usize = all.map(|line| line.count).sum();
                (count > 0).then(|| format!("{count} {}", fate.name()))
            })
            .collect();
        let counts = match counts.is_empty() {
            true => "no request".to_owned(),
            false => counts.join(", "),
        };
        let mut text = vec![format!("sortie: {counts} (session {})", self.session)];
        for fate in Fate::ALL {
            text.extend(self.of(fate));
        }
        if !self.is_complete {
            text.push(format!(
                "  This may be incomplete; later: sortie audit list --session {}",
                self.session
            ));
        }
        text
    }

    fn of(&self, fate: Fate) -> Vec<String> {
        let all: Vec<_> = self.lines.iter().filter(|line| line.fate == fate).collect();
        let mut text = Vec::new();
        for line in all.iter().take(SHOWN_MAX) {
            let why = match fate {
                Fate::Refused => &line.code,
                Fate::Brokered | Fate::Tunnelled | Fate::Passed => &line.service,
            };
            let head = format!("  {:9}  {}  {} {why}", fate.name(), line.target, line.count);
            text.push(head.trim_end().to_owned());
            let sentence = Code::from_name(&line.code).map(|code| code.text().to_owned());
            let next = line.command.clone().or(sentence);
            text.extend(next.map(|next| format!("             {next}")));
        }
        if all.len() > SHOWN_MAX {
            let more = all.len() - SHOWN_MAX;
            text.push(format!("  {:9}  and {more} more", fate.name()));
        }
        text
    }
}

#[cfg(test)]
mod tests;
