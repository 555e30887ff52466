//! Sends the journal to control, and removes what control has acknowledged.
//!
//! Every round sends one batch for this boot and one for each dead boot, over all lanes. Control answers with how far
//! it has committed each lane; that answer, not what was sent, decides where the next batch starts, so sending twice
//! is harmless and no position is kept on disk. After any failure control is asked again before more is sent. Reading
//! is from the page cache and at most a batch, so it is done in place.
//!
//! It does not judge records. One that cannot be read holds up none behind it: control is told which it is, and raises
//! the alarm; in a dead boot's folder it is set aside for a person to look at.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use sortie_proto::id::BootId;
use sortie_proto::wire::v1;
use tokio::sync::watch;
use tokio::time::Instant;

use super::folder::Folder;
use super::source::{self, Budget, Dead, LaneSource};
use super::{Inner, Journal};

/// How long after an empty round the next one comes.
const PERIOD: Duration = Duration::from_millis(100);
/// The bounds of the wait after a failure; the wait itself is random below a limit that doubles.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(20));
/// The longest wait while uses are refused because the journal is full: only control's answer makes room.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// How often folders are looked for whose process has died since: after an upgrade, that of the one before.
const ADOPT: Duration = Duration::from_secs(10);
/// The most marks that the lag is measured by: two minutes of rounds.
const MARKS_MAX: usize = 1_200;

/// The way to control's audit log.
#[async_trait]
pub trait Transport: std::fmt::Debug + Send + Sync {
    /// Hands records over and learns how far each lane is committed.
    async fn ship(&self, request: v1::ShipRequest) -> Result<v1::ShipResponse, tonic::Status>;
}

/// A round that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the journal cannot be read")]
    Read(#[source] io::Error),
    #[error("control did not take the records")]
    Control(#[source] Box<tonic::Status>),
    #[error("control answered, but lane {0} is no further")]
    Stuck(u32),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Ships one journal.
#[derive(Debug)]
pub struct Shipper {
    inner: Arc<Inner>,
    transport: Arc<dyn Transport>,
    lanes: Vec<LaneSource>,
    dead: Vec<Dead>,
    /// Whether control takes records byte for byte; what it last said.
    takes_payloads: bool,
    adopt_at: Instant,
    /// Before it nothing of dead boots is shipped, and how long the next such wait may be.
    dead_at: Instant,
    dead_limit: Duration,
    /// When so many records had been appended.
    marks: VecDeque<(Instant, u64)>,
}

impl Shipper {
    /// Takes over a journal's shipping, and what dead boots left. Called once a journal.
    ///
    /// # Errors
    /// When a dead boot's folder cannot be read.
    pub fn new(journal: &Journal, transport: Arc<dyn Transport>) -> io::Result<Self> {
        let inner = Arc::clone(&journal.writer.inner);
        let adopted = std::mem::take(&mut *journal.writer.adopted.lock());
        let dead = adopted.into_iter().map(Dead::open);
        Ok(Self {
            lanes: inner
                .lanes
                .iter()
                .map(|lane| LaneSource::new(lane.number()))
                .collect(),
            dead: dead.collect::<io::Result<_>>()?,
            takes_payloads: false,
            adopt_at: Instant::now() + ADOPT,
            dead_at: Instant::now(),
            dead_limit: BACKOFF.0,
            marks: VecDeque::new(),
            inner,
            transport,
        })
    }

    /// Ships until told to stop. Whoever stops waits for [`Journal::flushed`] first.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut limit = BACKOFF.0;
        loop {
            let outcome = self.round().await;
            self.measure();
            let wait = match outcome {
                Ok(more) => {
                    limit = BACKOFF.0;
                    if more { Duration::ZERO } else { PERIOD }
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the journal is not being shipped");
                    self.forget();
                    let wait = rand::rng().random_range(PERIOD..=limit);
                    limit = limit.saturating_mul(2).min(BACKOFF.1);
                    if self.inner.room.is_full(self.inner.config.segment_bytes) {
                        wait.min(FULL_WAIT)
                    } else {
                        wait
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // An error says that nobody can tell us to stop any more.
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Sends one batch a boot. Whether there is more.
    async fn round(&mut self) -> Result<bool, Error> {
        let own = self.ship_own().await?;
        Ok(self.ship_dead().await || own)
    }

    /// Ships what dead boots left. What is wrong with their files holds up neither this boot nor, for long, each other.
    async fn ship_dead(&mut self) -> bool {
        if Instant::now() < self.dead_at {
            return false;
        }
        match self.ship_all_dead().await {
            Ok(more) => {
                self.dead_limit = BACKOFF.0;
                more
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "what dead boots left is not being shipped");
                self.forget_dead();
                if !self.dead.is_empty() {
                    self.dead.rotate_left(1);
                }
                let wait = rand::rng().random_range(PERIOD..=self.dead_limit);
                self.dead_at = Instant::now() + wait;
                self.dead_limit = self.dead_limit.saturating_mul(2).min(BACKOFF.1);
                false
            }
        }
    }

    fn adopt(&mut self) -> io::Result<()> {
        if Instant::now() < self.adopt_at {
            return Ok(());
        }
        self.adopt_at = Instant::now() + ADOPT;
        for folder in Folder::adopt(&self.inner.config.path)? {
            tracing::info!(boot.id = %folder.boot, "the journal of a process that has died is shipped");
            let dead = Dead::open(folder)?;
            self.inner.room.fill(dead.bytes);
            self.dead.push(dead);
        }
        Ok(())
    }

    async fn ship_own(&mut self) -> Result<bool, Error> {
        let mut budget = Budget::whole();
        let mut batches = Vec::new();
        // A busy lane must not keep those behind it from their turn.
        if !self.lanes.is_empty() {
            self.lanes.rotate_left(1);
        }
        for lane in &mut self.lanes {
            let Some(writer) = self.inner.lane(lane.lane()) else {
                continue;
            };
            batches.extend(lane.batch(&writer.view(), &mut budget)?);
        }
        let cursors = self.send(self.inner.folder.boot, batches).await?;
        for cursor in cursors {
            take(&mut self.lanes, cursor);
            if let Some(writer) = self.inner.lane(cursor.lane) {
                writer.release(cursor.sequence, &self.inner.place())?;
            }
        }
        let total = self.lanes.iter().map(LaneSource::acknowledged).sum();
        self.inner.acknowledged.store(total, Ordering::Release);
        self.inner.progress.notify_waiters();
        Ok(budget.is_spent())
    }

    async fn ship_all_dead(&mut self) -> Result<bool, Error> {
        self.adopt()?;
        let mut index = 0;
        let mut more = false;
        while let Some(dead) = self.dead.get_mut(index) {
            let mut budget = Budget::whole();
            let mut batches = Vec::new();
            for (lane, spans) in &mut dead.lanes {
                batches.extend(lane.batch_of(spans, &mut budget)?);
            }
            let boot = dead.boot();
            if batches.is_empty() && dead.is_done() {
                let torn = dead.torn();
                if !torn.is_empty() {
                    self.inner.metrics.torn.inc();
                    tracing::error!(boot.id = %boot, lanes = ?torn, "a dead boot's records end in bytes that are none: what stood there is lost");
                }
                self.tell_end(boot, torn).await?;
                let dead = self.dead.remove(index);
                self.bury(dead)?;
                continue;
            }
            more = true;
            let cursors = self.send(boot, batches).await?;
            let lanes = self.dead.get_mut(index).map(|dead| &mut dead.lanes);
            for (lane, _) in lanes.into_iter().flatten() {
                let cursor = cursors.iter().find(|cursor| cursor.lane == lane.lane());
                if let Some(cursor) = cursor {
                    lane.acknowledge(cursor.sequence);
                }
            }
            index += 1;
        }
        Ok(more)
    }

    fn bury(&self, dead: Dead) -> io::Result<()> {
        let boot = dead.boot();
        self.inner.room.give(dead.bytes);
        if dead.is_damaged() {
            self.inner.metrics.damaged.inc();
            tracing::error!(boot.id = %boot, "records of a dead boot cannot be read; its folder is set aside");
            return dead.folder.set_aside();
        }
        tracing::info!(boot.id = %boot, "all that a dead boot left has been shipped");
        dead.folder.remove()
    }

    /// Says that a dead boot has no more, so that control can tell what is missing. A control that does not ask for more
    /// than records has nothing to hold that against.
    async fn tell_end(&mut self, boot: BootId, torn_lanes: Vec<u32>) -> Result<(), Error> {
        let request = v1::ShipRequest {
            boot_id: boot.to_bytes(),
            ended: true,
            torn_lanes,
            ..v1::ShipRequest::default()
        };
        let answer = self.transport.ship(request).await;
        answer.map_err(|status| Error::Control(Box::new(status)))?;
        Ok(())
    }

    async fn send(
        &mut self,
        boot: BootId,
        lanes: Vec<v1::LaneBatch>,
    ) -> Result<Vec<v1::LaneCursor>, Error> {
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        // What each lane's cursor must reach at least: one more than before, unless it was only asked for.
        let wanted: Vec<_> = lanes
            .iter()
            .map(|batch| (batch.lane, batch.first_sequence, batch.payloads.is_empty()))
            .collect();
        let lanes = if self.takes_payloads {
            lanes
        } else {
            lanes.iter().map(source::decoded).collect()
        };
        let request = v1::ShipRequest {
            boot_id: boot.to_bytes(),
            lanes,
            ..v1::ShipRequest::default()
        };
        let answer = self.transport.ship(request).await;
        let answer = answer.map_err(|status| Error::Control(Box::new(status)))?;
        // A call may reach another replica, of another version, than the one before: it is asked again, in its own words.
        self.takes_payloads = answer.takes_payloads;
        for (lane, first, asked) in wanted {
            let moved = |cursor: &v1::LaneCursor| {
                cursor.lane == lane && (asked || cursor.sequence >= first)
            };
            if !answer.cursors.iter().any(moved) {
                return Err(Error::Stuck(lane));
            }
        }
        Ok(answer.cursors)
    }

    fn forget(&mut self) {
        self.lanes.iter_mut().for_each(LaneSource::forget);
        self.forget_dead();
    }

    fn forget_dead(&mut self) {
        let lanes = self.dead.iter_mut().flat_map(|dead| &mut dead.lanes);
        lanes.for_each(|(lane, _)| lane.forget());
    }

    fn measure(&mut self) {
        let now = Instant::now();
        let appended = self.inner.appended.load(Ordering::Acquire);
        let acknowledged = self.inner.acknowledged.load(Ordering::Acquire);
        let is_new = self.marks.back().is_none_or(|(_, mark)| *mark < appended);
        if is_new && self.marks.len() < MARKS_MAX {
            self.marks.push_back((now, appended));
        }
        while self
            .marks
            .front()
            .is_some_and(|(_, mark)| *mark <= acknowledged)
        {
            self.marks.pop_front();
        }
        let lag = self
            .marks
            .front()
            .map_or(Duration::ZERO, |(since, _)| now - *since);
        let metrics = &self.inner.metrics;
        let unshipped = appended.saturating_sub(acknowledged);
        metrics
            .unshipped
            .set(i64::try_from(unshipped).unwrap_or(i64::MAX));
        metrics.lag.set(lag.as_secs_f64());
    }
}

fn take(lanes: &mut [LaneSource], cursor: v1::LaneCursor) {
    let lane = lanes.iter_mut().find(|lane| lane.lane() == cursor.lane);
    if let Some(lane) = lane {
        lane.acknowledge(cursor.sequence);
    }
}

#[cfg(test)]
mod tests;
