//! Scenarios: what agents do, in which phases, and what must hold. A file becomes a [`Scenario`], checked whole.
//!
//! A scenario is a list of phases. The groups of a phase act at the same time; phases follow each other, and all of
//! them again in every round, so that two ways are compared while a shared machine drifts. Bars are asked of what all
//! rounds came to.

pub mod bar;
pub mod schedule;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use self::bar::Bar;
use self::schedule::Arrivals;
use crate::cluster::Shape;

/// The most agents of a group: the limit on open files, with room.
const AGENTS_MAX: usize = 16_000;
/// The most arrivals a second that one pacing thread keeps up with.
const RATE_MAX: f64 = 200_000.0;

/// A scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called, and its results are.
    pub name: String,
    /// One sentence about it.
    pub about: String,
    /// How often all phases are gone through.
    #[serde(default = "one")]
    pub rounds: usize,
    /// Seconds of each phase that are driven and not counted.
    #[serde(default = "warmup")]
    pub warmup_seconds: f64,
    /// What is started for it.
    #[serde(default)]
    pub cluster: Shape,
    /// What happens, in order.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// What must hold.
    #[serde(default, rename = "bar")]
    pub bars: Vec<Bar>,
}

/// A time in which groups act together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What it is called.
    pub name: String,
    /// How long it is, without warming up.
    pub seconds: f64,
    /// Who acts.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    /// What is done to the cluster meanwhile.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
}

/// Agents that do the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What it is called: results are under `PHASE/GROUP`.
    pub name: String,
    /// Which tenant they are of.
    #[serde(default)]
    pub tenant: usize,
    /// How many; each has a session and a connection of its own.
    pub agents: usize,
    /// Requests that one connection may have open at once; more than one is for HTTP/2.
    #[serde(default = "one")]
    pub streams: usize,
    /// What they speak.
    #[serde(default)]
    pub protocol: Protocol,
    /// Through the gateways, in turn, or straight to the upstream.
    #[serde(default)]
    pub way: Way,
    /// What they do.
    #[serde(default)]
    pub kind: Kind,
    /// Arrivals a second, of all of them together.
    #[serde(default)]
    pub rate: f64,
    /// Instead of `rate`: this part of what gateways carry of it, which is tried out first.
    #[serde(default)]
    pub share_of_most: f64,
    /// How arrivals lie in time.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Seconds in which they are connected and do nothing.
    #[serde(default)]
    pub idle_seconds: f64,
    /// What they ask for.
    #[serde(default = "path")]
    pub path: String,
    /// How many hosts they ask, a connection one host; 0 is the first host alone.
    #[serde(default)]
    pub hosts: usize,
    /// After so many requests a connection ends, and a new session comes with a new one; 0 is never.
    #[serde(default)]
    pub requests_per_connection: usize,
    /// How long an agent waits for an answer.
    #[serde(default = "patience")]
    pub patience_seconds: f64,
}

/// What agents speak inside their tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

/// How agents reach the upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By CONNECT through a gateway.
    #[default]
    Gateway,
    /// Without one: what the generator and the upstream cost alone.
    Direct,
}

/// What agents do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A request for each arrival; what counts is the end of the answer.
    #[default]
    Request,
    /// An event stream for each arrival; what counts is its first event, and that it comes to its end.
    Sse,
    /// A WebSocket; a message and its echo for each arrival.
    Websocket,
    /// A request that waits for its answer until the phase ends.
    Waiting,
    /// An upload that stops half-way.
    Upload,
    /// An answer that is not read on.
    Download,
}

impl Kind {
    /// Whether it only holds connections, without arrivals.
    #[must_use]
    pub const fn only_holds(self) -> bool {
        matches!(self, Self::Waiting | Self::Upload | Self::Download)
    }
}

/// Something that happens to the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in seconds after the phase's counted part began.
    pub at: f64,
    /// What.
    pub what: What,
    /// To which control or gateway.
    #[serde(default)]
    pub index: usize,
}

/// What can happen to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A control stops in good order, its private database with it.
    StopControl,
    /// It is started again.
    StartControl,
    /// A gateway stops in good order and is started again.
    RestartGateway,
    /// A new process takes a gateway's ports over, and the old one drains.
    UpgradeGateway,
}

const fn one() -> usize {
    1
}

const fn warmup() -> f64 {
    2.0
}

const fn patience() -> f64 {
    30.0
}

fn path() -> String {
    "/bytes/1024".to_owned()
}

impl Scenario {
    /// Reads a scenario's file.
    ///
    /// # Errors
    /// When it cannot be read, or asks for what cannot be.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// When it is none, or asks for what cannot be.
    pub fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Makes it shorter, for a quick look: phases and what happens in them.
    pub fn shorten(&mut self, factor: f64) {
        for phase in &mut self.phases {
            phase.seconds *= factor;
            for group in &mut phase.groups {
                group.idle_seconds *= factor;
            }
            for event in &mut phase.events {
                event.at *= factor;
            }
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.phases.is_empty(), "a scenario has a phase at least");
        ensure!(self.rounds > 0, "there is a round at least");
        for phase in &self.phases {
            ensure!(
                phase.seconds > 0.0,
                "{}: seconds must be more than 0",
                phase.name
            );
            for group in &phase.groups {
                let name = format!("{}/{}", phase.name, group.name);
                group.check(&self.cluster).with_context(|| name.clone())?;
            }
            for event in &phase.events {
                ensure!(
                    event.at < phase.seconds,
                    "{}: {:?} comes when it is over",
                    phase.name,
                    event.what
                );
            }
        }
        let labels = self.labels();
        for (index, label) in labels.iter().enumerate() {
            let twice = labels.iter().skip(index + 1).any(|other| other == label);
            ensure!(!twice, "{label} is there twice");
        }
        self.bars.iter().try_for_each(|bar| bar.check(&labels))
    }

    /// `PHASE/GROUP` of every group, in order.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let each = self.phases.iter().flat_map(|phase| {
            let groups = phase.groups.iter();
            groups.map(|group| format!("{}/{}", phase.name, group.name))
        });
        each.collect()
    }
}

impl Group {
    fn check(&self, shape: &Shape) -> Result<()> {
        ensure!(
            (1..=AGENTS_MAX).contains(&self.agents),
            "agents must be 1 to {AGENTS_MAX}"
        );
        ensure!(
            self.tenant < shape.tenants,
            "there is no tenant {}",
            self.tenant
        );
        ensure!(
            self.hosts <= shape.hosts,
            "the cluster knows {} hosts",
            shape.hosts
        );
        ensure!(
            self.streams == 1 || self.protocol == Protocol::Http2,
            "several streams are for http2"
        );
        ensure!(
            self.kind != Kind::Websocket || self.protocol == Protocol::Http1,
            "a WebSocket is spoken over http1"
        );
        let paced = self.rate > 0.0 && self.rate <= RATE_MAX;
        let shared = self.share_of_most > 0.0 && self.share_of_most <= 1.0;
        if self.kind.only_holds() {
            ensure!(!paced && !shared, "what only holds has no arrivals");
        } else {
            ensure!(
                paced != shared,
                "either rate (up to {RATE_MAX}) or share_of_most (up to 1)"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
