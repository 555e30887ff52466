//! One page for a folder of results: every figure that has a bar, where it comes from, and all plots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::Figure;
use crate::bench::report::say;

/// A folder of results.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The folder.
    folder: PathBuf,
}

/// As much of an outcome as a summary reads.
#[derive(Debug, Deserialize)]
struct Read {
    name: String,
    machine: Of,
    figures: Vec<Figure>,
}

/// As much of a machine as all outcomes say.
#[derive(Debug, Deserialize)]
struct Of {
    commit: String,
    processor: String,
    processors: usize,
    kernel: String,
}

/// Writes `README.md` into a folder of results.
///
/// # Errors
/// When the folder cannot be read or written, or holds no results.
pub fn run(options: &Options) -> Result<()> {
    let page = page(&options.folder)?;
    let file = options.folder.join("README.md");
    std::fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("written: {}", file.display()));
    Ok(())
}

/// The page.
///
/// # Errors
/// When the folder cannot be read, or holds no results.
pub fn page(folder: &Path) -> Result<String> {
    let (mut outcomes, mut plots) = (Vec::new(), Vec::new());
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let file = entry?.path();
        if file.extension().is_some_and(|end| end == "svg") {
            plots.extend(
                file.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
        let is_json = file.extension().is_some_and(|end| end == "json");
        if is_json {
            let read: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)
                .with_context(|| format!("in {}", file.display()))?;
            // What k6 and oha write there is JSON too, and not ours.
            if read.get("figures").is_some() {
                let read = serde_json::from_value::<Read>(read);
                outcomes.push(read.with_context(|| format!("in {}", file.display()))?);
            }
        }
    }
    plots.sort();
    outcomes.sort_by(|one, other| one.name.cmp(&other.name));
    let first = outcomes.first().context("there are no results")?;
    let mut text = format!(
        "# Results\n\nCommit {}, {} × {}, {}.\n\n",
        first.machine.commit,
        first.machine.processors,
        first.machine.processor,
        first.machine.kernel
    );
    text.push_str("| figure | value | bar | holds | from |\n|---|---:|---:|---|---|\n");
    for outcome in &outcomes {
        // A mark behind it says that the tree held more.
        let commit = |of: &Of| of.commit.trim_end_matches('+').to_owned();
        let same = commit(&outcome.machine) == commit(&first.machine);
        ensure!(same, "{} is of another commit", outcome.name);
        for figure in outcome.figures.iter().filter(|figure| figure.has_bar()) {
            let row = figure.row();
            // Writing to a `String` does not fail.
            let _written = writeln!(
                text,
                "{} [{}]({}.md) |",
                row.trim_end(),
                outcome.name,
                outcome.name
            );
        }
    }
    for plot in &plots {
        let _written = write!(text, "\n![{plot}]({plot})\n");
    }
    Ok(text)
}
