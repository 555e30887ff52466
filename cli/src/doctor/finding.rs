//! What a check found, and how it is told: a row with its state, what was seen, and the fix.
//!
//! Invariant: a fault or a warning says what to do. Nothing that was read from the environment or a program is shown
//! before [`conceal`] has taken tokens and passwords out of it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::Result;
use crate::output::{Output, printable, room, wrapped};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, or something is lost that not everybody needs.
    Warning,
    /// Traffic does not go through Sortie because of it.
    Fault,
    /// Not looked at, and why.
    Skipped,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Skipped => "skipped",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What was looked at, e.g. `gateway` or `go`.
    pub(crate) check: String,
    /// How it ended.
    pub(crate) state: State,
    /// What was seen.
    pub(crate) seen: String,
    /// A command or one line; empty where there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) fix: String,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: &str, seen: impl Into<String>) -> Self {
        Self::new(State::Ok, check, seen.into(), "")
    }

    /// Not looked at.
    pub(crate) fn skipped(check: &str, why: impl Into<String>) -> Self {
        Self::new(State::Skipped, check, why.into(), "")
    }

    /// Something that is worth a look.
    pub(crate) fn warning(check: &str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Warning, check, seen.into(), fix)
    }

    /// What keeps traffic away.
    pub(crate) fn fault(check: &str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(State::Fault, check, seen.into(), fix)
    }

    fn new(state: State, check: &str, seen: String, fix: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            state,
            seen,
            fix: fix.into(),
        }
    }
}

/// How wide the column of checks is at most; a longer name has a line of its own.
const CHECK_WIDTH: usize = 18;
/// How long a line is at most, but for commands: in a terminal that is narrower, as long as that is wide.
const LINE_WIDTH: usize = 80;
/// How narrow the column of what was seen gets at least.
const SEEN_MIN: usize = 24;

/// How many faults there are.
pub(crate) fn faults(findings: &[Finding]) -> usize {
    count(findings, State::Fault)
}

fn count(findings: &[Finding], state: State) -> usize {
    findings
        .iter()
        .filter(|finding| finding.state == state)
        .count()
}

/// Prints all rows, and how many of them are not as they should be.
///
/// # Errors
/// If they cannot be written as JSON.
pub(crate) fn print(findings: &[Finding], out: Output) -> Result<()> {
    let (faults, warnings) = (faults(findings), count(findings, State::Warning));
    let object = json!({"findings": findings, "faults": faults, "warnings": warnings});
    if out.is_json() {
        return out.done(&object, "");
    }
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .filter(|length| *length <= CHECK_WIDTH)
        .max()
        .unwrap_or(0);
    for finding in findings {
        for line in lines(finding, width, out) {
            out.line(&line);
        }
    }
    let verdict = match (faults, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("no fault, {}", counted(warnings, "warning")),
        (faults, 0) => counted(faults, "fault"),
        (faults, warnings) => format!(
            "{}, {}",
            counted(faults, "fault"),
            counted(warnings, "warning")
        ),
    };
    out.done(&object, &format!("\n{verdict}"))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn lines(finding: &Finding, width: usize, out: Output) -> Vec<String> {
    let word = format!("{:7}", finding.state.name());
    let word = match finding.state {
        State::Ok => out.green(&word),
        State::Warning => out.yellow(&word),
        State::Fault => out.red(&word),
        State::Skipped => out.dim(&word),
    };
    let indent = 7 + 2 + width + 2;
    let line = room().unwrap_or(LINE_WIDTH).min(LINE_WIDTH);
    let seen = wrapped(
        &printable(&finding.seen, false),
        line.saturating_sub(indent).max(SEEN_MIN),
    )
    .join(&format!("\n{:indent$}", ""));
    let mut lines = if finding.check.len() > width {
        vec![
            format!("{word}  {}", finding.check),
            format!("{:indent$}{seen}", ""),
        ]
    } else {
        vec![format!("{word}  {:width$}  {seen}", finding.check)]
    };
    if !finding.fix.is_empty() {
        // A command is copied from the terminal: it is never broken over lines.
        let fix = printable(&finding.fix, false);
        lines.push(format!("{:9}{} {fix}", "", out.bold("fix:")));
    }
    lines
}

/// The text without what must not be shown: what stands between `//` and `@` in a URL, and tokens and keys of Sortie.
pub(crate) fn conceal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        shown.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`'));
        let authority = after.get(..end.unwrap_or(after.len())).unwrap_or(after);
        rest = match authority.rfind('@') {
            Some(host) => {
                shown.push('…');
                after.get(host..).unwrap_or_default()
            }
            None => after,
        };
    }
    shown.push_str(rest);
    for prefix in ["sortie_ses_", "sortie_key_", "sortie_agt_"] {
        shown = conceal_after(&shown, prefix);
    }
    shown
}

fn conceal_after(text: &str, prefix: &str) -> String {
    let mut pieces = text.split(prefix);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        shown.push_str(prefix);
        shown.push('…');
        shown.push_str(piece.trim_start_matches(is_part));
    }
    shown
}

#[cfg(test)]
mod tests;
