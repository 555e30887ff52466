//! What was measured of a control alone: figures beside their bars, as a table for people and JSON for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::process::Command;

use crate::bench::report::say;

/// One number.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What of.
    pub title: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// What it must reach or not exceed; none where it only informs.
    pub bar: Option<Bar>,
}

/// What a number must be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Figure {
    /// A number that informs.
    #[must_use]
    pub fn new(title: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            title: title.into(),
            value,
            unit,
            bar: None,
        }
    }

    /// A number that must be something.
    #[must_use]
    pub fn with(self, bar: Bar) -> Self {
        Self {
            bar: Some(bar),
            ..self
        }
    }

    /// Whether it is what it must be.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.bar {
            Some(Bar::AtLeast(least)) => self.value >= least,
            Some(Bar::AtMost(most)) => self.value <= most,
            None => true,
        }
    }
}

/// All that was measured in one go, and where.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    commit: String,
    processor: String,
    processors: usize,
    kernel: String,
    /// How it was measured, in a sentence.
    method: String,
    /// The numbers.
    figures: Vec<Figure>,
}

impl Figures {
    /// Puts numbers together with the machine that they were measured on.
    ///
    /// # Errors
    /// When the machine does not say how many processors it has.
    pub async fn new(method: String, figures: Vec<Figure>) -> Result<Self> {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        Ok(Self {
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]).await,
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            kernel: said("uname", &["-sr"]).await,
            method,
            figures,
        })
    }

    /// Prints the table, and writes `LABEL.json` and `LABEL.md` if there is a folder for them.
    ///
    /// # Errors
    /// When standard output is closed, the folder cannot be written, or a bar is missed.
    pub fn publish(&self, folder: Option<&Path>, label: &str) -> Result<()> {
        let table = self.markdown();
        std::io::stdout().write_all(table.as_bytes())?;
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
            let base = folder.join(label);
            let json = serde_json::to_string_pretty(self)?;
            std::fs::write(base.with_extension("json"), json)
                .with_context(|| format!("cannot write to {}", folder.display()))?;
            std::fs::write(base.with_extension("md"), table)?;
            say(&format!("written: {}.md and .json", base.display()));
        }
        let missed = self.figures.iter().find(|figure| !figure.holds());
        match missed {
            Some(figure) => anyhow::bail!("{}: the bar is missed", figure.title),
            None => Ok(()),
        }
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "Commit {}, {} × {}, {}. {}\n\n| figure | value | bar |\n|---|---:|---:|\n",
            self.commit, self.processors, self.processor, self.kernel, self.method
        );
        for figure in &self.figures {
            let bar = match figure.bar {
                Some(Bar::AtLeast(least)) => format!("≥ {}", short(least)),
                Some(Bar::AtMost(most)) => format!("≤ {}", short(most)),
                None => String::new(),
            };
            // Writing to a `String` does not fail.
            let _written = writeln!(
                text,
                "| {} | {} {} | {bar} |",
                figure.title,
                short(figure.value),
                figure.unit
            );
        }
        text
    }
}

/// Three digits that count, or all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

async fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output().await else {
        return "unknown".to_owned();
    };
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The value that so many of a hundred do not exceed.
#[must_use]
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) * percent / 100;
    values.get(at).copied().unwrap_or(f64::NAN)
}
