//! What agents do: they take what is due, send it, read the answer to its end, and look for secrets in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::queue::Queue;
use super::search::Search;
use super::socket::Socket;
use super::target::Place;
use super::wire::{Connection, NotTaken, ended_unanswered};
use crate::hold::{Held, Holding};
use crate::measure::{Answered, Recorder};
use crate::plan::{Group, Kind, Protocol};
use crate::steady::stalls::Stalls;

/// What the agents of a group share.
#[derive(Debug)]
pub struct Crew {
    /// What they do.
    pub group: Group,
    /// Where connections go.
    pub place: Place,
    /// What is due.
    pub queue: Queue,
    /// What happened.
    pub recorder: Recorder,
    /// From when on it counts. Set before the first is due.
    pub counted_from: watch::Receiver<Option<Instant>>,
    /// True when the phase is over: what is held is let go.
    pub over: watch::Receiver<bool>,
    /// When processors stood still, where that is watched.
    pub stalls: Option<Arc<Stalls>>,
    /// Gets a permit for each lane that is ready.
    pub ready: Arc<Semaphore>,
}

/// An agent: a session, and a connection that its lanes share.
#[derive(Debug)]
struct Agent {
    crew: Arc<Crew>,
    number: usize,
    /// How many connections it has opened.
    opened: AtomicUsize,
    /// Of HTTP/2, which has several lanes.
    shared: Mutex<Option<Connection>>,
}

impl Crew {
    /// How many requests they may have open at once.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.group.agents * self.group.streams
    }

    /// Lets them begin.
    pub fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        for number in 0..self.group.agents {
            let agent = Arc::new(Agent {
                crew: Arc::clone(self),
                number,
                opened: AtomicUsize::new(0),
                shared: Mutex::new(None),
            });
            for _ in 0..self.group.streams {
                tasks.spawn(Box::pin(Arc::clone(&agent).act()));
            }
        }
    }

    fn counts(&self, due: Instant) -> bool {
        self.counted_from.borrow().is_some_and(|from| due >= from)
    }
}

/// What a lane has open.
#[derive(Debug, Default)]
struct Open {
    connection: Option<Connection>,
    socket: Option<Socket>,
    /// Requests on it so far.
    used: usize,
}

impl Agent {
    async fn act(self: Arc<Self>) {
        let crew = &self.crew;
        if let Some(how) = Holding::of(crew.group.kind) {
            return self.hold(how).await;
        }
        let mut open = Open::default();
        if crew.group.requests_per_connection == 0 {
            // Who cannot connect tries again when something is due.
            if let Err(error) = self.connect(&mut open).await {
                crew.recorder
                    .failed(&format!("at the start: {}", kind(&error)), 1);
            }
        }
        crew.ready.add_permits(1);
        while let Some(due) = crew.queue.next().await {
            self.serve(&mut open, due).await;
        }
    }

    async fn hold(&self, how: Holding) {
        let crew = &self.crew;
        let route = crew.place.route(self.number, 0);
        let held = match route {
            Ok(route) => Held::open(&route, how).await,
            Err(error) => Err(error),
        };
        crew.ready.add_permits(1);
        let mut over = crew.over.clone();
        // Who could tell is gone where it fails: then the phase is over too.
        drop(over.wait_for(|over| *over).await);
        let still = match held {
            Ok(mut held) => held.check().await,
            Err(error) => Err(error),
        };
        if let Err(error) = still {
            crew.recorder
                .failed(&format!("not held: {}", kind(&error)), 1);
        }
    }

    async fn serve(&self, open: &mut Open, due: Instant) {
        let crew = &self.crew;
        let lag = due.elapsed();
        let patience = Duration::from_secs_f64(crew.group.patience_seconds);
        let served = timeout(patience, self.try_serve(open)).await;
        let latency = due.elapsed();
        let counts = crew.counts(due);
        match served.unwrap_or_else(|_late| Err(anyhow::anyhow!("no answer in time"))) {
            Ok(_) if !counts => {}
            // The answer was read to its end: its connection is as good as before.
            Ok(Served {
                refused: Some(kind),
                ..
            }) => crew.recorder.failed(&kind, 1),
            Ok(Served { bytes, first, .. }) => crew.recorder.answered(Answered {
                latency: first.map_or(latency, |first| first.duration_since(due)),
                lag,
                bytes,
                calm: crew
                    .stalls
                    .as_ref()
                    .is_some_and(|stalls| stalls.calm_since(due)),
            }),
            Err(error) => {
                if counts {
                    crew.recorder.failed(&kind(&error), 1);
                }
                *open = Open::default();
                *self.shared.lock().await = None;
            }
        }
        open.used += 1;
        let most = crew.group.requests_per_connection;
        if most > 0 && open.used >= most {
            *open = Open::default();
            *self.shared.lock().await = None;
        }
    }

    async fn try_serve(&self, open: &mut Open) -> Result<Served> {
        self.connect(open).await?;
        if let Some(socket) = &mut open.socket {
            let echo = socket.echo("what comes back is what was sent").await?;
            return Ok(Served {
                bytes: echo.len() as u64,
                ..Served::default()
            });
        }
        let answer = self.ask(open).await?;
        let status = answer.status().as_u16();
        if status != 200 {
            let code = answer.headers().get("x-sortie-code").cloned();
            answer.into_body().collect().await?;
            let code = code.as_ref().and_then(|code| code.to_str().ok());
            return Ok(Served {
                refused: Some(format!("status {status} {}", code.unwrap_or_default())),
                ..Served::default()
            });
        }
        self.read(answer).await
    }

    /// Sends a request; once more, on a new connection, if it was certainly not taken, or if the HTTP/1.1 connection
    /// that it was sent on, and that was kept, ended without an answer. Each is counted, apart.
    async fn ask(&self, open: &mut Open) -> Result<Response<Incoming>> {
        let group = &self.crew.group;
        let was_kept = open.used > 0 || group.requests_per_connection == 0;
        let connection = open.connection.as_mut().context("no connection")?;
        let error = match connection.get(&group.path).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.is::<NotTaken>() {
            self.crew.recorder.not_taken();
        } else if was_kept && group.protocol == Protocol::Http1 && ended_unanswered(&error) {
            self.crew.recorder.sent_again();
        } else {
            return Err(error);
        }
        open.connection = None;
        *self.shared.lock().await = None;
        self.connect(open).await?;
        let connection = open.connection.as_mut().context("no connection")?;
        connection.get(&group.path).await
    }

    /// Reads an answer to its end, and looks at all of it.
    async fn read(&self, answer: Response<Incoming>) -> Result<Served> {
        let crew = &self.crew;
        let mut served = Served::default();
        let mut search = Search::new(crew.place.secret());
        let mut leaked = false;
        for value in answer.headers().values() {
            leaked |= Search::new(crew.place.secret()).sees(value.as_bytes());
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if crew.group.kind == Kind::Sse {
                served.first.get_or_insert_with(Instant::now);
            }
            served.bytes += data.len() as u64;
            leaked |= search.sees(&data);
        }
        if leaked {
            crew.recorder.leaked();
        }
        Ok(served)
    }

    /// Opens what is not open.
    async fn connect(&self, open: &mut Open) -> Result<()> {
        let crew = &self.crew;
        let protocol = crew.group.protocol;
        if crew.group.kind == Kind::Websocket {
            if open.socket.is_none() {
                open.socket = Some(Socket::open(&self.next_route()?).await?);
            }
            return Ok(());
        }
        if open.connection.as_ref().is_some_and(Connection::is_open) {
            return Ok(());
        }
        if crew.group.streams == 1 {
            open.connection = Some(Connection::open(&self.next_route()?, protocol).await?);
            return Ok(());
        }
        let mut shared = self.shared.lock().await;
        if !shared.as_ref().is_some_and(Connection::is_open) {
            *shared = Some(Connection::open(&self.next_route()?, protocol).await?);
        }
        open.connection = shared.as_ref().and_then(Connection::share);
        Ok(())
    }

    fn next_route(&self) -> Result<super::wire::Route> {
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        self.crew.place.route(self.number, opened)
    }
}

/// What an answer came to.
#[derive(Debug, Default)]
struct Served {
    bytes: u64,
    /// When its first event came, for a stream of events.
    first: Option<Instant>,
    /// What it said, if it was another than 200.
    refused: Option<String>,
}

/// An error in few words, the same for all of its kind.
fn kind(error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    let mut kind: String = said.chars().take(80).collect();
    // Ports and ids differ from one to the next.
    if let Some(at) = kind.find("127.0.0.1:") {
        kind.truncate(at);
    }
    kind
}
