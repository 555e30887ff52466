//! `sortie dev status`: whether a cluster runs in a folder, where it listens, which processes it is, and how to repeat
//! what it showed.

use std::fs;

use serde_json::{Map, Value, json};

use super::account;
use super::instance::{Phase, Record};
use super::layout::Layout;
use super::logs::Component;
use crate::error::{Error, Result};
use crate::output::{Column, Output};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie dev status
  sortie dev status --output json

Exit codes: 0 it runs and is ready, 1 it does not run, or is starting or stopping.";

const COLUMNS: [Column; 11] = [
    ("CLUSTER", "/phase"),
    ("DETACHED", "/detached"),
    ("SINCE", "/started_at"),
    ("VERSION", "/version"),
    ("PIDS", "/pids"),
    ("API", "/ports/api"),
    ("FEED", "/ports/feed"),
    ("CONTROL ADMIN", "/ports/control_admin"),
    ("PROXY", "/ports/proxy"),
    ("GATEWAY ADMIN", "/ports/gateway_admin"),
    ("DEMO UPSTREAM", "/ports/demo_upstream"),
];

/// Prints it.
///
/// # Errors
/// [`Error::File`] if the answer cannot be written.
pub(super) fn show(found: Option<&Record>, layout: &Layout, out: Output) -> Result<()> {
    let Some(record) = found else {
        let folder = layout.folder().display();
        let body = json!({"running": false, "data_dir": layout.folder()});
        out.done(&body, &format!("no cluster runs in {folder}"))?;
        if !out.is_json() {
            out.note(&format!(
                "{} starts one",
                account::dev_verb("--detach", layout)
            ));
        }
        return Ok(());
    };
    let body = describe(record, layout);
    out.object(&body, &COLUMNS)?;
    if !out.is_json() {
        if record.demo {
            out.line(&format!("\n{}", out.bold("Again, by hand")));
            out.line(account::indented(&account::commands(layout)).trim_end());
        }
        out.line(&format!("\n{}", out.bold("Administration")));
        out.line(account::places(layout).trim_end());
    }
    Ok(())
}

/// Everything that programs may want to know.
pub(super) fn describe(record: &Record, layout: &Layout) -> Value {
    let mut ports = Map::from_iter(
        layout
            .ports()
            .map(|(name, port)| (name.to_owned(), port.into())),
    );
    if !record.demo {
        ports.remove("demo_upstream");
    }
    let logs = [
        Component::Dev,
        Component::Control,
        Component::Gateway,
        Component::Postgres,
    ]
    .map(|component| component.log(layout))
    .map(|(name, path)| (name.to_owned(), json!(path)));
    let repeat = if record.demo && record.phase == Phase::Ready {
        account::commands(layout)
    } else {
        Vec::new()
    };
    json!({
        "running": true,
        "phase": record.phase,
        "detached": record.detached,
        "started_at": record.started_at,
        "version": record.version,
        "pids": {
            "dev": record.pid,
            "control": record.control,
            "gateway": record.gateway,
            "postgres": postgres(layout),
        },
        "ports": ports,
        "data_dir": layout.folder(),
        "api_url": layout.api(),
        "proxy_url": layout.proxy(),
        "key_file": account::key(layout),
        "logs": Map::from_iter(logs),
        "repeat": repeat,
    })
}

/// In a sentence: what keeps a second start out.
pub(super) fn already(record: &Record, layout: &Layout) -> Error {
    let state = match record.phase {
        Phase::Starting => "is starting",
        Phase::Ready => "is ready",
        Phase::Stopping => "is stopping",
    };
    Error::failed(
        format!(
            "another `sortie dev` uses {}: process {}, since {}; it {state}\n  API {}, proxy {}",
            layout.folder().display(),
            record.pid,
            record.started_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            layout.api(),
            layout.proxy(),
        ),
        format!(
            "`{}` says more, and `{}` ends it. For a second one name another folder and ports: --data-dir DIR \
             --port-base 8300.",
            account::dev_verb("status", layout),
            account::dev_verb("stop", layout),
        ),
    )
}

/// What PostgreSQL says of itself, if we may read it.
fn postgres(layout: &Layout) -> Option<u32> {
    fs::read_to_string(layout.postgres_pid())
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}
