//! From what was measured to what is reported.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::measure::Measured;
use crate::plan::bar::{Bar, Measure, Relation};
use crate::plan::{Phase, Scenario, Way};
use crate::report::plot::{Curve, Plot, percentile_ticks};
use crate::report::{Figure, Outcome, Table, short};

/// What all rounds came to, by `PHASE/GROUP`.
#[derive(Debug, Default)]
pub struct Results {
    groups: BTreeMap<String, Measured>,
    /// What the gateways spent in a phase, and for how many answers.
    cpu: BTreeMap<String, (Duration, u64)>,
}

impl Results {
    /// A phase is over.
    ///
    /// # Errors
    /// Never: all histograms have the same bounds.
    pub fn add(&mut self, phase: &Phase, measured: Vec<Measured>, cpu: Duration) -> Result<()> {
        let spent = self.cpu.entry(phase.name.clone()).or_default();
        spent.0 += cpu;
        for (group, measured) in phase.groups.iter().zip(measured) {
            if group.way == Way::Gateway {
                spent.1 += measured.answered();
            }
            let label = format!("{}/{}", phase.name, group.name);
            match self.groups.get_mut(&label) {
                Some(known) => known.add(&measured)?,
                None => {
                    self.groups.insert(label, measured);
                }
            }
        }
        Ok(())
    }

    fn figure(&self, label: &str, measure: Measure) -> f64 {
        let Some(measured) = self.groups.get(label) else {
            return f64::NAN;
        };
        let all = (measured.answered() + measured.failed()).max(1) as f64;
        match measure {
            // Without answers there is no latency, and no bar holds.
            Measure::P50Ms | Measure::P99Ms | Measure::P999Ms if measured.answered() == 0 => {
                f64::NAN
            }
            Measure::P50Ms => measured.millis(50.0),
            Measure::P99Ms => measured.millis(99.0),
            Measure::P999Ms => measured.millis(99.9),
            Measure::CalmP50Ms => measured.calm_millis(50.0),
            Measure::CalmP99Ms => measured.calm_millis(99.0),
            Measure::Errors => measured.failed() as f64,
            Measure::ErrorsPerThousand => measured.failed() as f64 * 1e3 / all,
            Measure::Leaks => measured.leaks() as f64,
            Measure::SentAgain => measured.sent_again() as f64,
            Measure::PerSecond => measured.per_second(),
            Measure::Answered => measured.answered() as f64 / all,
        }
    }

    /// A bar with what it was asked of.
    fn asked(&self, bar: &Bar) -> Figure {
        let own = self.figure(&bar.of, bar.figure);
        let (value, beside) = match &bar.beside {
            None => (own, String::new()),
            Some(label) => {
                let other = self.figure(label, bar.figure);
                match bar.relation {
                    Relation::Difference => (own - other, format!(" − {label}")),
                    Relation::Ratio => (own / other, format!(" / {label}")),
                }
            }
        };
        let is_ratio = bar.beside.is_some() && bar.relation == Relation::Ratio;
        let title = || format!("{} of {}{beside}", bar.figure.title(), bar.of);
        Figure {
            title: bar.title.clone().unwrap_or_else(title),
            value,
            unit: if is_ratio { "×" } else { bar.figure.unit() }.to_owned(),
            at_most: bar.at_most,
            at_least: bar.at_least,
        }
    }
}

/// What a scenario came to.
#[must_use]
pub fn outcome(scenario: &Scenario, results: &Results, most: &Map<String, Value>) -> Outcome {
    let mut outcome = Outcome::new(&scenario.name, &scenario.about);
    outcome.figures = scenario.bars.iter().map(|bar| results.asked(bar)).collect();
    // Whatever a scenario asks, no answer may hold a secret.
    let leaks: u64 = results.groups.values().map(Measured::leaks).sum();
    let leaks = Figure::new("secrets seen in answers", leaks as f64, "").at_most(0.0);
    outcome.figures.push(leaks);
    outcome.tables = vec![table(scenario, results), spent(results)];
    outcome.notes = notes(results);
    outcome.plots = vec![plot(scenario, results)];
    let groups = results.groups.iter();
    let groups: Map<_, _> = groups
        .map(|(label, one)| (label.clone(), one.json()))
        .collect();
    outcome.details = json!({"groups": groups, "most_per_second": most});
    outcome
}

fn table(scenario: &Scenario, results: &Results) -> Table {
    let watched = results.groups.values().any(|one| one.calm() > 0);
    let mut columns = vec![
        "group",
        "answers/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "answered",
        "errors",
        "not taken, sent anew",
        "sent again",
        "taken late, p99 ms",
    ];
    if watched {
        columns.extend(["calm", "calm, p50 ms", "calm, p99 ms"]);
    }
    let mut table = Table::new(&columns);
    for label in scenario.labels() {
        let Some(one) = results.groups.get(&label) else {
            continue;
        };
        let millis = [50.0, 90.0, 99.0, 99.9].map(|percentile| short(one.millis(percentile)));
        let mut row = vec![label, short(one.per_second())];
        row.extend(millis);
        let counts = [
            one.answered(),
            one.failed(),
            one.not_taken(),
            one.sent_again(),
        ];
        row.extend(counts.map(|count| count.to_string()));
        row.push(short(one.lag_millis()));
        if watched {
            let part = one.calm() as f64 * 100.0 / one.answered().max(1) as f64;
            row.push(format!("{part:.0} %"));
            row.extend([50.0, 99.0].map(|percentile| short(one.calm_millis(percentile))));
        }
        table.rows.push(row);
    }
    table
}

fn spent(results: &Results) -> Table {
    let mut table = Table::new(&["phase", "gateways' CPU s", "µs an answer"]);
    for (phase, (cpu, answers)) in &results.cpu {
        let each = cpu.as_secs_f64() * 1e6 / (*answers).max(1) as f64;
        let row = [phase.clone(), short(cpu.as_secs_f64()), short(each)];
        table.rows.push(row.to_vec());
    }
    table
}

fn notes(results: &Results) -> Vec<String> {
    let groups = results.groups.iter().filter(|(_, one)| one.failed() > 0);
    let said = groups.map(|(label, one)| {
        let kinds = one.errors().iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        format!("Errors of {label}: {}.", kinds.join("; "))
    });
    said.collect()
}

fn plot(scenario: &Scenario, results: &Results) -> Plot {
    let labels = scenario.labels();
    let with_answers = labels.iter().filter_map(|label| {
        let one = results.groups.get(label).filter(|one| one.answered() > 0)?;
        Some(Curve {
            title: label.clone(),
            points: one.curve(),
            dashed: false,
        })
    });
    Plot {
        name: "latency".to_owned(),
        title: format!("{}: latency from when a request was due", scenario.name),
        x: "percentile".to_owned(),
        y: "ms".to_owned(),
        ticks: percentile_ticks(),
        curves: with_answers.collect(),
    }
}
