//! Phases: all agents are connected, then the clock starts; when it ends, nothing of the phase is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::agent::Crew;
use super::queue::Queue;
use super::result::{self, Results};
use super::target::Target;
use crate::bench::report::say;
use crate::cluster::Cluster;
use crate::measure::{Measured, Recorder};
use crate::plan::schedule::Schedule;
use crate::plan::{Event, Group, Phase, Scenario, Way, What};
use crate::report::Outcome;
use crate::steady::stalls::Stalls;

/// How long all agents of a phase may take to connect.
const CONNECT: Duration = Duration::from_secs(120);
/// From when all are connected to when the clock starts.
const LEAD: Duration = Duration::from_millis(100);
/// From when agents send to when it is counted what they reach.
const WARM: Duration = Duration::from_secs(1);
/// For how long it is tried out what a group reaches.
const TRY: Duration = Duration::from_secs(3);
/// How long what is under way at the end may take.
const GRACE: Duration = Duration::from_secs(60);
const PROGRESS: Duration = Duration::from_secs(2);

/// Goes through a scenario.
#[derive(Debug)]
pub struct Conductor {
    scenario: Scenario,
    target: Target,
    stalls: Option<Arc<Stalls>>,
    /// What groups reach, by what they do.
    most: BTreeMap<String, f64>,
}

/// A phase that is under way.
#[derive(Debug)]
struct Stage {
    crews: Vec<Arc<Crew>>,
    tasks: JoinSet<()>,
    counted_from: watch::Sender<Option<Instant>>,
    over: watch::Sender<bool>,
}

impl Conductor {
    /// Of a scenario.
    #[must_use]
    pub fn new(scenario: Scenario, target: Target) -> Self {
        Self {
            scenario,
            target,
            stalls: None,
            most: BTreeMap::new(),
        }
    }

    /// Counts answers apart that came while no processor stood still.
    #[must_use]
    pub fn watching(self, stalls: Option<Arc<Stalls>>) -> Self {
        Self { stalls, ..self }
    }

    /// Goes through all rounds and phases.
    ///
    /// # Errors
    /// When agents cannot be made, or a process does not start again.
    pub async fn conduct(mut self, mut cluster: Option<&mut Cluster>) -> Result<Outcome> {
        let mut results = Results::default();
        for round in 1..=self.scenario.rounds {
            for phase in self.scenario.phases.clone() {
                say(&format!("round {round}, phase {}", phase.name));
                let phase = self.with_rates(phase, cluster.as_deref()).await?;
                let driven = Box::pin(self.phase(&phase, cluster.as_deref_mut()));
                let (measured, spent) = driven.await?;
                results.add(&phase, measured, spent)?;
            }
        }
        let reached: Map<_, _> = self
            .most
            .iter()
            .map(|(what, rate)| (what.clone(), Value::from(*rate)))
            .collect();
        Ok(result::outcome(&self.scenario, &results, &reached))
    }

    /// Tries out what groups reach whose rate is a part of that.
    async fn with_rates(&mut self, mut phase: Phase, cluster: Option<&Cluster>) -> Result<Phase> {
        for group in &mut phase.groups {
            if group.share_of_most == 0.0 {
                continue;
            }
            let what = format!(
                "{} × {} {:?} {}",
                group.agents, group.streams, group.protocol, group.path
            );
            let known = self.most.get(&what).copied();
            let most = match known {
                Some(most) => most,
                None => self.most_of(group, cluster).await?,
            };
            self.most.insert(what, most);
            group.rate = most * group.share_of_most;
        }
        Ok(phase)
    }

    /// What gateways carry of what a group does, whichever way it goes itself: what is answered when each agent sends as
    /// soon as it has an answer. If that leaves their worker threads idle at times, since the generator is what is
    /// slower, it is drawn out to where they would not be.
    async fn most_of(&self, group: &Group, cluster: Option<&Cluster>) -> Result<f64> {
        let group = Group {
            way: Way::Gateway,
            requests_per_connection: 0,
            ..group.clone()
        };
        let tried = Phase {
            name: "most".to_owned(),
            seconds: TRY.as_secs_f64(),
            groups: vec![group],
            events: Vec::new(),
        };
        let mut stage = self.set(&tried, true).await?;
        // All are connected, and send already.
        tokio::time::sleep(WARM).await;
        let (start, before) = (Instant::now(), cpu(cluster));
        stage.counted_from.send_replace(Some(start));
        tokio::time::sleep(TRY).await;
        let crew = stage.crews.first().context("no crew")?;
        let answered = crew.recorder.so_far().answered();
        let (took, spent) = (start.elapsed(), cpu(cluster).saturating_sub(before));
        stage.tasks.shutdown().await;
        ensure!(answered > 0, "agents reach nothing");
        let reached = answered as f64 / took.as_secs_f64();
        let shape = &self.scenario.cluster;
        let workers = (shape.workers * shape.gateways).max(1) as f64;
        let busy = spent.as_secs_f64() / took.as_secs_f64() / workers;
        // Of a cluster that is not ours it is not known.
        let most = if busy > 0.0 {
            reached / busy.min(1.0)
        } else {
            reached
        };
        say(&format!(
            "  reached {reached:.0} requests/s with gateways {:.0} % busy: they carry {most:.0}",
            busy * 100.0
        ));
        Ok(most)
    }

    /// Connects all agents of a phase.
    async fn set(&self, phase: &Phase, always: bool) -> Result<Stage> {
        let (counted_from, from) = watch::channel(None);
        let (over, is_over) = watch::channel(false);
        let ready = Arc::new(Semaphore::new(0));
        let mut stage = Stage {
            crews: Vec::new(),
            tasks: JoinSet::new(),
            counted_from,
            over,
        };
        for group in &phase.groups {
            let connections = connections(group, phase.seconds + self.scenario.warmup_seconds);
            let crew = Arc::new(Crew {
                place: self.target.place(group, connections).await?,
                queue: if always {
                    Queue::always(Instant::now() + CONNECT)
                } else {
                    Queue::paced()
                },
                group: group.clone(),
                recorder: Recorder::new()?,
                counted_from: from.clone(),
                over: is_over.clone(),
                stalls: self.stalls.clone(),
                ready: Arc::clone(&ready),
            });
            crew.start(&mut stage.tasks);
            stage.crews.push(crew);
        }
        let lanes: usize = stage.crews.iter().map(|crew| crew.waits_for()).sum();
        let all = ready.acquire_many(u32::try_from(lanes)?);
        timeout(CONNECT, all)
            .await
            .context("agents do not connect")??
            .forget();
        Ok(stage)
    }

    async fn phase(
        &self,
        phase: &Phase,
        cluster: Option<&mut Cluster>,
    ) -> Result<(Vec<Measured>, Duration)> {
        let mut stage = self.set(phase, false).await?;
        let begin = Instant::now() + LEAD;
        let warm = begin + Duration::from_secs_f64(self.scenario.warmup_seconds);
        let end = warm + Duration::from_secs_f64(phase.seconds);
        stage.counted_from.send_replace(Some(warm));
        let mut pacers = Vec::new();
        for (seed, crew) in stage.crews.iter().enumerate() {
            let crew = Arc::clone(crew);
            let seed = u64::try_from(seed)?;
            let name = format!("pace {}", crew.group.name);
            let pace = move || pace(&crew, (begin, end), seed);
            pacers.push(thread::Builder::new().name(name).spawn(pace)?);
        }
        let progress = progress(&stage.crews, (warm, end));
        let (spent, ()) = tokio::join!(spent(phase, cluster, (warm, end)), progress);
        sleep_until(end).await;
        stage.over.send_replace(true);
        let ended = async { while stage.tasks.join_next().await.is_some() {} };
        let in_time = timeout(GRACE, ended).await.is_ok();
        stage.tasks.shutdown().await;
        for pacer in pacers {
            let joined = pacer.join();
            ensure!(joined.is_ok(), "a pacing thread failed");
        }
        let spent = spent?;
        if !in_time {
            say("  agents did not end in time");
        }
        let crews = stage.crews.iter();
        let measured = crews.map(|crew| taken(crew, end - warm)).collect();
        Ok((measured, spent))
    }
}

impl Crew {
    /// How many say that they are ready.
    fn waits_for(&self) -> usize {
        if self.group.kind.only_holds() {
            return self.group.agents;
        }
        self.lanes()
    }
}

fn taken(crew: &Crew, time: Duration) -> Measured {
    let left = crew.queue.len();
    if left > 0 {
        crew.recorder.failed("never sent", left as u64);
    }
    let mut measured = crew.recorder.so_far();
    measured.lasted(time);
    measured
}

/// How many connections a group opens, at most.
fn connections(group: &Group, seconds: f64) -> usize {
    if group.requests_per_connection == 0 {
        return group.agents;
    }
    let later = group.rate * seconds / group.requests_per_connection as f64;
    // An estimate of sessions to mint: what it leaves out is used again.
    let later = Duration::from_secs_f64(later.clamp(0.0, 1e9)).as_secs();
    group.agents + usize::try_from(later).unwrap_or(usize::MAX)
}

/// Says when requests are due, until the end. A thread of its own: a runtime's timer counts in milliseconds.
fn pace(crew: &Crew, (begin, end): (Instant, Instant), seed: u64) {
    if crew.group.kind.only_holds() {
        return;
    }
    let begin = begin + Duration::from_secs_f64(crew.group.idle_seconds);
    for due in Schedule::new(crew.group.arrivals, crew.group.rate, seed) {
        let due = begin + due;
        if due >= end {
            break;
        }
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if !crew.queue.push(due) {
            crew.recorder.failed("more is due than agents take", 1);
        }
    }
    crew.queue.end(crew.lanes());
}

async fn progress(crews: &[Arc<Crew>], (from, end): (Instant, Instant)) {
    let mut ticks = interval(PROGRESS);
    while Instant::now() + PROGRESS < end {
        ticks.tick().await;
        let groups = crews.iter().filter(|crew| !crew.group.kind.only_holds());
        for crew in groups.filter(|_| Instant::now() > from) {
            let so_far = crew.recorder.so_far();
            say(&format!(
                "  {:>4} s · {:<16} {:>8} answered, p50 {:.2} ms, p99 {:.2} ms, {} errors, {} wait",
                from.elapsed().as_secs(),
                crew.group.name,
                so_far.answered(),
                so_far.millis(50.0),
                so_far.millis(99.0),
                so_far.failed(),
                crew.queue.len()
            ));
        }
    }
}

/// Does what happens to a cluster; answers what its gateways spend while answers are counted.
async fn spent(
    phase: &Phase,
    mut cluster: Option<&mut Cluster>,
    (from, end): (Instant, Instant),
) -> Result<Duration> {
    sleep_until(from).await;
    let before = cpu(cluster.as_deref());
    act(phase, cluster.as_deref_mut(), (from, end)).await?;
    sleep_until(end).await;
    Ok(cpu(cluster.as_deref()).saturating_sub(before))
}

/// Does to the cluster what the phase says.
async fn act(
    phase: &Phase,
    cluster: Option<&mut Cluster>,
    (from, end): (Instant, Instant),
) -> Result<()> {
    if phase.events.is_empty() {
        return Ok(());
    }
    let cluster = cluster.context("what happens to a cluster needs one of our own")?;
    let mut events = phase.events.clone();
    events.sort_by(|one, other| one.at.total_cmp(&other.at));
    for Event { at, what, index } in events {
        sleep_until(from + Duration::from_secs_f64(at)).await;
        // What came before may have taken longer than thought; what happens without load shows nothing.
        ensure!(
            Instant::now() < end,
            "{}: it was over before {what:?} {index}",
            phase.name
        );
        say(&format!("  {what:?} {index}"));
        match what {
            What::StopControl => cluster.control_mut(index)?.stop().await,
            What::StartControl => cluster.control_mut(index)?.restart().await?,
            What::RestartGateway => {
                let gateway = cluster.gateway_mut(index)?;
                gateway.stop().await;
                gateway.restart().await?;
            }
            What::UpgradeGateway => cluster.gateway_mut(index)?.upgrade().await?,
        }
    }
    Ok(())
}

/// What the gateways have spent so far, those of their processes included that have ended.
fn cpu(cluster: Option<&Cluster>) -> Duration {
    let gateways = cluster.into_iter().flat_map(|cluster| cluster.gateways());
    gateways.filter_map(|gateway| gateway.cpu().ok()).sum()
}
