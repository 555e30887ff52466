//! What `sortie dev` tells: what happened, how to repeat it, and where things are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::demonstration::{Shown, placeholder};
use super::layout::Layout;
use super::seed::{CREDENTIAL, PROFILE};
use crate::config;
use crate::error::Error;
use crate::output::Output;

/// The account after a demonstration.
pub(super) fn tell(shown: &Shown, layout: &Layout, detached: bool, out: Output) -> String {
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
        indented(&commands(layout)),
        out.bold("Administration"),
        places(layout),
        out.dim(&ending(layout, detached)),
    ];
    for line in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What is said without a demonstration.
pub(super) fn plain(layout: &Layout, detached: bool) -> String {
    format!("\n{}{}", places(layout), ending(layout, detached))
}

/// How it is ended.
fn ending(layout: &Layout, detached: bool) -> String {
    if detached {
        format!(
            "`{}` stops everything. The data stays.",
            dev_verb("stop", layout)
        )
    } else {
        "Ctrl-C stops everything. The data stays.".to_owned()
    }
}

/// A verb of `sortie dev` on this folder, as a shell takes it.
pub(super) fn dev_verb(verb: &str, layout: &Layout) -> String {
    let usual = config::dev_folder().and_then(|folder| {
        std::fs::canonicalize(&folder).map_err(|source| Error::file("find", &folder, source))
    });
    if usual.is_ok_and(|usual| usual == layout.folder()) {
        return format!("{} dev {verb}", name());
    }
    format!(
        "{} dev {verb} --data-dir {}",
        name(),
        quoted(layout.folder())
    )
}

/// The commands that repeat the demonstration by hand, and show what it left.
pub(super) fn commands(layout: &Layout) -> Vec<String> {
    let sortie = sortie(layout);
    let curl = layout.demo("curl.conf");
    vec![
        format!(
            "curl -q --config {} {}",
            quoted(&curl),
            layout.upstream_url("/hello")
        ),
        format!("{sortie} run -- curl -s {}", layout.upstream_url("/echo")),
        format!("{sortie} run -- curl -sN {}", layout.upstream_url("/sse")),
        format!("{sortie} audit list --limit 5"),
    ]
}

/// Each on a line of its own.
pub(super) fn indented(commands: &[String]) -> String {
    commands
        .iter()
        .fold(String::new(), |text, command| text + "  " + command + "\n")
}

/// The key that the verbs are to use. Without a demonstration there is no tenant, and the operator's is the only one.
pub(super) fn key(layout: &Layout) -> PathBuf {
    let owner = layout.demo("owner.key");
    if owner.exists() {
        owner
    } else {
        layout.operator_key()
    }
}

/// Where everything is.
pub(super) fn places(layout: &Layout) -> String {
    format!(
        "  API      {}   (description: /openapi.json)\n  proxy    {}\n  key      export SORTIE_API_KEY_FILE={}   (the \
         operator's: {})\n  logs     {}\n  data     {}\n",
        layout.api(),
        layout.proxy(),
        quoted(&key(layout)),
        quoted(&layout.operator_key()),
        layout.folder().join("logs").display(),
        layout.folder().display(),
    )
}

/// How this `sortie` is called on this cluster: with the profile if another one is current.
fn sortie(layout: &Layout) -> String {
    if config::is_current(PROFILE, &layout.api()) {
        name()
    } else {
        format!("{} --profile {PROFILE}", name())
    }
}

/// How this `sortie` is called: by its name if a shell would find it.
fn name() -> String {
    let ours = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sortie"));
    let path = config::variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("sortie"))
        .find(|at| at.is_file());
    let same = found.and_then(|at| at.canonicalize().ok()) == ours.canonicalize().ok();
    if same {
        "sortie".to_owned()
    } else {
        quoted(&ours)
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
