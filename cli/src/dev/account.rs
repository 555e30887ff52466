//! What `sortie dev` tells: what happened, how to repeat it, and where things are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::demonstration::{Shown, placeholder};
use super::layout::Layout;
use super::seed::{CREDENTIAL, PROFILE};
use crate::config;
use crate::output::Output;

/// The account after a demonstration.
pub(super) fn tell(shown: &Shown, layout: &Layout, out: Output) -> String {
    let mut text = String::new();
    let equal = if shown.verdict().is_ok() {
        out.green("= the stored value")
    } else {
        String::new()
    };
    let label = |label: &str| out.dim(&format!("{label:<24}"));
    let lines = [
        String::new(),
        out.bold("A request was brokered."),
        String::new(),
        format!(
            "  {}GET {}",
            label("the agent sent"),
            layout.upstream_url("/hello")
        ),
        format!("  {}no credential at all", label("")),
        format!(
            "  {}authorization: {}",
            label("the upstream received"),
            shown.received
        ),
        format!("  {}{CREDENTIAL} is {} {equal}", label(""), shown.stored),
        String::new(),
        format!(
            "  {}x-api-key: {}",
            label("the agent sent to /echo"),
            placeholder()
        ),
        format!("  {}authorization: {}", label("and got back"), shown.echoed),
        format!("  {}x-api-key: {}", label(""), shown.echoed_placeholder),
        format!(
            "  {}the upstream echoed both; the gateway masked them",
            label("")
        ),
        String::new(),
        out.bold("Again, by hand"),
        commands(layout),
        out.bold("Administration"),
        places(layout),
        out.dim("Ctrl-C stops everything. The data stays."),
    ];
    for line in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What is said without a demonstration.
pub(super) fn plain(layout: &Layout) -> String {
    format!(
        "\n{}Ctrl-C stops everything. The data stays.",
        places(layout)
    )
}

fn commands(layout: &Layout) -> String {
    let sortie = sortie(layout);
    let curl = layout.demo("curl.conf");
    format!(
        "  curl -q --config {} {}\n  {sortie} run -- curl -s {}\n  {sortie} run -- curl -sN {}\n  {sortie} audit list \
         --limit 5\n",
        quoted(&curl),
        layout.upstream_url("/hello"),
        layout.upstream_url("/echo"),
        layout.upstream_url("/sse"),
    )
}

fn places(layout: &Layout) -> String {
    let owner = layout.demo("owner.key");
    // Without a demonstration there is no tenant, and the operator's key is the only one.
    let key = if owner.exists() {
        owner
    } else {
        layout.operator_key()
    };
    format!(
        "  API      {}   (description: /openapi.json)\n  proxy    {}\n  key      export SORTIE_API_KEY_FILE={}   (the \
         operator's: {})\n  logs     {}\n  data     {}\n",
        layout.api(),
        layout.proxy(),
        quoted(&key),
        quoted(&layout.operator_key()),
        layout.folder().join("logs").display(),
        layout.folder().display(),
    )
}

/// How this `sortie` is called: by its name if a shell would find it, and with the profile if another one is current.
fn sortie(layout: &Layout) -> String {
    let ours = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sortie"));
    let path = config::variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("sortie"))
        .find(|at| at.is_file());
    let same = found.and_then(|at| at.canonicalize().ok()) == ours.canonicalize().ok();
    let name = if same {
        "sortie".to_owned()
    } else {
        quoted(&ours)
    };
    if config::is_current(PROFILE, &layout.api()) {
        name
    } else {
        format!("{name} --profile {PROFILE}")
    }
}

/// A path that a shell reads as one word.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
