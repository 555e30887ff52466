//! What a measurement came to: figures with their bars, tables and plots, as JSON, Markdown and SVG.
//!
//! Every tool here makes an [`Outcome`], and writes it as `NAME.json`, `NAME.md` and `NAME-….svg` into a folder of
//! results; [`summary`] puts all outcomes of a folder on one page.

pub mod machine;
pub mod plot;
pub mod summary;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use self::machine::Machine;
use self::plot::Plot;
use crate::bench::report::say;

/// Where outcomes go.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Folder for the results; without one they are printed alone.
    #[arg(long, overrides_with = "results")]
    pub results: Option<PathBuf>,
    /// Prints JSON, not a table.
    #[arg(long)]
    pub json: bool,
}

/// A number that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// What of.
    pub title: String,
    /// How much. What could not be measured is not a number, and null in JSON.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// In what.
    #[serde(default)]
    pub unit: String,
    /// The most that it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The least that it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    let value = Option::<f64>::deserialize(from)?;
    Ok(value.unwrap_or(f64::NAN))
}

impl Figure {
    /// One that only informs.
    #[must_use]
    pub fn new(title: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            title: title.into(),
            value,
            unit: unit.to_owned(),
            at_most: None,
            at_least: None,
        }
    }

    /// With the most that it may be.
    #[must_use]
    pub fn at_most(self, at_most: f64) -> Self {
        Self {
            at_most: Some(at_most),
            ..self
        }
    }

    /// With the least that it may be.
    #[must_use]
    pub fn at_least(self, at_least: f64) -> Self {
        Self {
            at_least: Some(at_least),
            ..self
        }
    }

    /// Whether it has a bar.
    #[must_use]
    pub fn has_bar(&self) -> bool {
        self.at_most.is_some() || self.at_least.is_some()
    }

    /// Whether it is within its bars. What could not be measured is not.
    #[must_use]
    pub fn holds(&self) -> bool {
        let most = self.at_most.is_none_or(|most| self.value <= most);
        let least = self.at_least.is_none_or(|least| self.value >= least);
        most && least && (!self.value.is_nan() || !self.has_bar())
    }

    /// The bar, as people read it.
    #[must_use]
    pub fn bar(&self) -> String {
        let most = self.at_most.map(|most| format!("≤ {}", short(most)));
        let least = self.at_least.map(|least| format!("≥ {}", short(least)));
        let bars: Vec<_> = [least, most].into_iter().flatten().collect();
        bars.join(", ")
    }

    fn row(&self) -> String {
        let verdict = match (self.has_bar(), self.holds()) {
            (false, _) => "",
            (true, true) => "yes",
            (true, false) => "**no**",
        };
        let value = format!("{} {}", short(self.value), self.unit);
        format!(
            "| {} | {} | {} | {verdict} |\n",
            self.title,
            value.trim(),
            self.bar()
        )
    }
}

/// Three digits that count, or all before the point.
#[must_use]
pub fn short(value: f64) -> String {
    // What is 0 from below is 0, too.
    let value = value + 0.0;
    let size = value.abs();
    if size == 0.0 || size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// A table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// What columns are called; the first is of text.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rules = self.head.iter().skip(1).map(|_| "---:");
        let rules = std::iter::once("---").chain(rules).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| line(row));
        let rows: String = rows.collect();
        format!("{}| {} |\n{rows}", line(&self.head), rules.join(" | "))
    }
}

/// What a measurement came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// What files are called.
    pub name: String,
    /// What it measured, in a sentence.
    pub about: String,
    /// Where.
    pub machine: Machine,
    /// The numbers that count.
    pub figures: Vec<Figure>,
    /// All numbers, for people.
    pub tables: Vec<Table>,
    /// Remarks, a paragraph each.
    pub notes: Vec<String>,
    /// The numbers, as curves.
    #[serde(skip)]
    pub plots: Vec<Plot>,
    /// All numbers, for programs.
    pub details: Value,
}

impl Outcome {
    /// An empty one.
    #[must_use]
    pub fn new(name: &str, about: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            machine: Machine::here(),
            figures: Vec::new(),
            tables: Vec::new(),
            notes: Vec::new(),
            plots: Vec::new(),
            details: Value::Null,
        }
    }

    /// Prints it, writes it where it should go, and fails if a bar does not hold.
    ///
    /// # Errors
    /// When it cannot be written, or a bar does not hold.
    pub fn publish(&self, place: &Place) -> Result<()> {
        let text = if place.json {
            format!("{}\n", serde_json::to_string_pretty(self)?)
        } else {
            self.markdown()
        };
        std::io::stdout().write_all(text.as_bytes())?;
        if let Some(folder) = &place.results {
            self.write(folder)?;
        }
        let missed = self.figures.iter().filter(|figure| !figure.holds());
        let missed: Vec<_> = missed.map(|figure| figure.title.as_str()).collect();
        if !missed.is_empty() {
            bail!("{}: not held: {}", self.name, missed.join("; "));
        }
        Ok(())
    }

    /// Writes its files.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let file = |end: &str| folder.join(format!("{}{end}", self.name));
        std::fs::write(file(".json"), serde_json::to_string_pretty(self)?)?;
        std::fs::write(file(".md"), self.markdown())?;
        for plot in &self.plots {
            std::fs::write(file(&format!("-{}.svg", plot.name)), plot.svg())?;
        }
        say(&format!("written: {}/{}.*", folder.display(), self.name));
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n{}.\n\n", self.name, self.about, self.machine);
        if !self.figures.is_empty() {
            text.push_str("| figure | value | bar | holds |\n|---|---:|---:|---|\n");
            text.extend(self.figures.iter().map(Figure::row));
            text.push('\n');
        }
        for table in &self.tables {
            // Writing to a `String` does not fail.
            let _written = writeln!(text, "{}", table.markdown());
        }
        for note in &self.notes {
            let _written = writeln!(text, "{note}\n");
        }
        for plot in &self.plots {
            let _written = writeln!(text, "![{}]({}-{}.svg)\n", plot.title, self.name, plot.name);
        }
        format!("{}\n", text.trim_end())
    }
}

#[cfg(test)]
mod tests;
