//! What must hold of a scenario's results.

use anyhow::{Result, ensure};
use serde::Deserialize;

/// One demand.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// What it is of: `PHASE/GROUP`.
    pub of: String,
    /// Which figure of it.
    pub figure: Measure,
    /// What it is taken relative to: another `PHASE/GROUP`.
    #[serde(default)]
    pub beside: Option<String>,
    /// How it is taken relative to that.
    #[serde(default)]
    pub relation: Relation,
    /// The most that it may be.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// The least that it may be.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// What results call it. With one it may demand nothing, and only inform.
    #[serde(default)]
    pub title: Option<String>,
}

/// What is measured of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The median latency, in milliseconds.
    P50Ms,
    /// The latency that one in a hundred exceeds.
    P99Ms,
    /// The latency that one in a thousand exceeds.
    P999Ms,
    /// The median latency of answers that came while no processor stood still. Known with `--steady`.
    CalmP50Ms,
    /// The latency that one in a hundred of those exceeds.
    CalmP99Ms,
    /// Arrivals that came to nothing.
    Errors,
    /// Arrivals that came to nothing, in a thousand.
    ErrorsPerThousand,
    /// Answers with a credential in them.
    Leaks,
    /// Requests that were sent again, since a kept HTTP/1.1 connection ended without an answer.
    SentAgain,
    /// Arrivals that were answered, a second.
    PerSecond,
    /// Those, as a part of what was to come.
    Answered,
}

impl Measure {
    /// What tables call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::P50Ms => "p50",
            Self::P99Ms => "p99",
            Self::P999Ms => "p99.9",
            Self::CalmP50Ms => "p50 of calm answers",
            Self::CalmP99Ms => "p99 of calm answers",
            Self::Errors => "errors",
            Self::ErrorsPerThousand => "errors in a thousand",
            Self::Leaks => "secrets seen",
            Self::SentAgain => "sent again",
            Self::PerSecond => "answers a second",
            Self::Answered => "part answered",
        }
    }

    /// What it is counted in.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::P50Ms | Self::P99Ms | Self::P999Ms | Self::CalmP50Ms | Self::CalmP99Ms => "ms",
            Self::Errors
            | Self::ErrorsPerThousand
            | Self::Leaks
            | Self::SentAgain
            | Self::PerSecond
            | Self::Answered => "",
        }
    }
}

/// How a figure is taken relative to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// What is more.
    #[default]
    Difference,
    /// How many times.
    Ratio,
}

impl Bar {
    /// Whether it is about groups that there are, and demands something or, with a title, informs.
    ///
    /// # Errors
    /// When not.
    pub fn check(&self, labels: &[String]) -> Result<()> {
        let named = [Some(&self.of), self.beside.as_ref()];
        for label in named.into_iter().flatten() {
            ensure!(
                labels.contains(label),
                "a bar is of {label}, which is no group"
            );
        }
        ensure!(
            self.at_most.is_some() || self.at_least.is_some() || self.title.is_some(),
            "a bar of {} demands nothing",
            self.of
        );
        Ok(())
    }
}
