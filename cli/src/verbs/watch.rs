//! `--watch`: a list that is asked for again, until Ctrl-C.
//!
//! Invariants: what did not change is not printed again; control that is away for a moment ends nothing; a reader that
//! went away ends it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::sleep;

use crate::config::Context;
use crate::error::{Error, Result};
use crate::interrupt::Stop;
use crate::output::{Column, cell};

/// How long between two questions.
const PERIOD: Duration = Duration::from_secs(2);
/// How far an answer reaches back behind the newest entry that was seen.
const OVERLAP: SignedDuration = SignedDuration::from_secs(30);
/// How many entries are asked for at once.
const ANSWER_MAX: usize = 1000;
/// How many more answers an entry is held back for while its end is not known.
const PATIENCE: u32 = 2;

/// Whether to go on.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Ask again every two seconds, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

impl Watch {
    /// Whether it was asked for.
    pub(super) const fn is_on(&self) -> bool {
        self.watch
    }
}

/// Prints a list once, or again whenever it changed.
///
/// # Errors
/// What the first answer objects to, and what later ones do but for control being away.
pub(super) async fn list(
    watch: &Watch,
    columns: &[Column],
    context: &Context,
    ask: impl AsyncFn() -> Result<Vec<Value>>,
) -> Result<()> {
    if !watch.watch {
        return context.out.list(&ask().await?, columns);
    }
    let mut shown = None;
    repeat(context, ask, |objects| {
        if shown.as_ref() == Some(&objects) {
            return Ok(true);
        }
        let goes_on = context.out.frame(&objects, columns)?;
        shown = Some(objects);
        Ok(goes_on)
    })
    .await
}

/// Prints the newest `first` entries of a log, oldest first, and then what comes. `ask` answers at most so many entries
/// that are not older than a time, the newest first.
///
/// # Errors
/// As [`list`]'s.
pub(super) async fn log(
    first: usize,
    columns: &[Column],
    context: &Context,
    ask: impl AsyncFn(usize, Option<Timestamp>) -> Result<Vec<Value>>,
) -> Result<()> {
    let news = RefCell::new(News::default());
    let mut shape = None;
    let ask = async || {
        let since = news.borrow().since();
        ask(since.map_or(first, |_| ANSWER_MAX), since).await
    };
    repeat(context, ask, |entries| {
        let full = entries.len() == ANSWER_MAX;
        let fresh = news.borrow_mut().take(entries);
        if full && fresh.len() == ANSWER_MAX {
            context.out.note("sortie: more came than are shown");
        }
        context.out.rows(&fresh, columns, &mut shape)
    })
    .await
}

/// Asks and shows until `show` says no, or somebody says stop.
async fn repeat(
    context: &Context,
    ask: impl AsyncFn() -> Result<Vec<Value>>,
    mut show: impl FnMut(Vec<Value>) -> Result<bool>,
) -> Result<()> {
    let mut stop = Stop::catch()?;
    let mut answered = false;
    let mut away = false;
    loop {
        let answer = tokio::select! {
            answer = ask() => answer,
            () = stop.asked() => return Ok(()),
        };
        match answer {
            Ok(objects) => {
                (answered, away) = (true, false);
                if !show(objects)? {
                    return Ok(());
                }
            }
            Err(error) if answered && is_passing(&error) => {
                if !away {
                    context.out.note(&format!("sortie: {error}; still asking"));
                }
                away = true;
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = sleep(PERIOD) => {}
            () = stop.asked() => return Ok(()),
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. })
        || matches!(error, Error::Problem(problem) if matches!(problem.status, 429 | 502..=504))
}

/// Which entries were shown, and which wait for their end.
#[derive(Debug, Default)]
struct News {
    shown: HashSet<String>,
    held: HashMap<String, u32>,
    /// Older ones are not of interest: they were there at the beginning and were not asked for.
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
}

impl News {
    /// Gateways hand their entries over a little later, each at its own time.
    fn since(&self) -> Option<Timestamp> {
        let since = self.newest?.checked_sub(OVERLAP).ok()?;
        Some(self.oldest.map_or(since, |oldest| oldest.max(since)))
    }

    /// What is to be shown of an answer. What it no longer holds is forgotten: it is bounded as the answer is.
    fn take(&mut self, mut entries: Vec<Value>) -> Vec<Value> {
        entries.reverse();
        let mut shown = HashSet::new();
        let mut held = HashMap::new();
        let mut news = Vec::new();
        for entry in entries {
            let at = cell(&entry, "/at").parse::<Timestamp>().ok();
            self.oldest = self.oldest.or(at);
            self.newest = self.newest.max(at);
            let id = cell(&entry, "/id");
            let waited = self.held.get(&id).copied().unwrap_or(0);
            if self.shown.contains(&id) {
                shown.insert(id);
            } else if is_open(&entry) && waited < PATIENCE {
                held.insert(id, waited + 1);
            } else {
                shown.insert(id);
                news.push(entry);
            }
        }
        (self.shown, self.held) = (shown, held);
        news
    }
}

/// A request whose answer is not known yet. It usually is a moment later; one that streams stays so.
fn is_open(entry: &Value) -> bool {
    let number = |name| entry.get(name).and_then(Value::as_u64).unwrap_or(0);
    cell(entry, "/kind") == "request" && cell(entry, "/code").is_empty() && number("status") == 0
}

#[cfg(test)]
mod tests;
