//! The session that a relay holds, and how it stays alive: renewed at half of its token's life, until somebody ends it.
//!
//! Invariants: the session's id never changes by renewing. A session that was revoked is not asked for again, and every
//! request hears so. A renewal that fails is tried again until the token has ended, and said once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use rand::Rng as _;
use serde_json::json;
use sortie_proto::code::Code;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::token::{Token, token_of};
use crate::client::Client;
use crate::config::{self, Context};
use crate::error::{Error, Result};
use crate::output::Output;

/// How long a request waits for a token that is newer than the one that was refused.
const FRESH_WAIT: Duration = Duration::from_secs(5);
/// How often the clocks, or the file with the token, are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The first pause after a renewal that failed; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause after a renewal that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where newer tokens come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Control signs the same session again.
    Control {
        client: Client,
        tenant: String,
        out: Output,
    },
    /// Somebody else renews it and writes it to this file.
    File { path: PathBuf, out: Output },
    /// It ends with its token.
    Nobody,
}

impl Source {
    /// The control of a context.
    pub(crate) fn control(context: &Context) -> Self {
        Self::Control {
            client: context.client.clone(),
            tenant: context.tenant.clone(),
            out: context.out,
        }
    }

    /// A file.
    pub(crate) fn file(path: &Path, out: Output) -> Self {
        let path = path.to_owned();
        Self::File { path, out }
    }
}

/// What the relay holds.
#[derive(Debug)]
pub(super) struct Session {
    state: watch::Sender<State>,
    /// A gateway says that the token has ended: ours is too old, whatever the clock says.
    stale: Notify,
}

#[derive(Debug, Clone)]
enum State {
    Live(Token),
    Ended(Code),
}

impl Session {
    /// Starts with a token.
    pub(super) fn new(token: Token) -> Self {
        Self {
            state: watch::Sender::new(State::Live(token)),
            stale: Notify::new(),
        }
    }

    /// What to send to the gateway.
    ///
    /// # Errors
    /// Why there is nothing to send: `session_revoked`, `token_expired`.
    pub(super) fn authorization(&self) -> std::result::Result<HeaderValue, Code> {
        match &*self.state.borrow() {
            State::Live(token) => Ok(token.authorization.clone()),
            State::Ended(code) => Err(*code),
        }
    }

    /// The id, as long as it is live.
    pub(super) fn id(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Live(token) => Some(token.session.clone()),
            State::Ended(_) => None,
        }
    }

    /// Waits a little for a token that is newer than this one, which the gateway calls expired.
    pub(super) async fn newer_than(&self, refused: &HeaderValue) -> bool {
        self.stale.notify_one();
        let mut seen = self.state.subscribe();
        let settled = seen.wait_for(|state| match state {
            State::Live(token) => token.authorization != *refused,
            State::Ended(_) => true,
        });
        let settled = timeout(FRESH_WAIT, settled).await;
        settled.is_ok_and(|got| got.is_ok_and(|state| matches!(*state, State::Live(_))))
    }

    /// Ends it for good, and says so the first time.
    pub(super) fn end(&self, code: Code, out: Output) {
        let first = self.state.send_if_modified(|state| {
            let live = matches!(state, State::Live(_));
            if live {
                *state = State::Ended(code);
            }
            live
        });
        if first {
            out.note(&format!("sortie: relay: {} ({code})", code.text()));
        }
    }

    /// Waits until it is live no more.
    async fn ended(&self) {
        let mut seen = self.state.subscribe();
        // The sender is ours, so there is one.
        drop(
            seen.wait_for(|state| matches!(state, State::Ended(_)))
                .await,
        );
    }

    /// Renews it until it ends. Each new token is shown to `announce`.
    pub(super) async fn keep(self: Arc<Self>, source: Source, announce: impl AsyncFn()) {
        let Ok(first) = self.token() else { return };
        match source {
            Source::Control {
                client,
                tenant,
                out,
            } => {
                let renewal = Renewal {
                    client,
                    tenant,
                    ttl: first.life.as_secs(),
                    session: first.session.clone(),
                    out,
                };
                let mut schedule = Schedule::new(first.life);
                while let Some(token) = self.renewed(&renewal, &schedule).await {
                    schedule = Schedule::new(token.life);
                    let _old = self.state.send_replace(State::Live(token));
                    announce().await;
                }
            }
            Source::File { path, out } => self.follow(&path, out, announce).await,
            Source::Nobody => {
                self.stale.notified().await;
                let _live = self.state.send_replace(State::Ended(Code::TokenExpired));
            }
        }
    }

    fn token(&self) -> std::result::Result<Token, Code> {
        match &*self.state.borrow() {
            State::Live(token) => Ok(token.clone()),
            State::Ended(code) => Err(*code),
        }
    }

    /// The next token, when it is time for it; none once the session has ended.
    async fn renewed(&self, renewal: &Renewal, schedule: &Schedule) -> Option<Token> {
        tokio::select! {
            () = schedule.due() => {}
            () = self.stale.notified() => {}
            () = self.ended() => return None,
        }
        let mut pause = PAUSE_MIN;
        let mut told = false;
        loop {
            match renewal.ask().await {
                Ok(token) => return Some(token),
                Err(error) if error.is_over() => {
                    let code = if schedule.is_over() {
                        Code::TokenExpired
                    } else {
                        Code::SessionRevoked
                    };
                    self.end(code, renewal.out);
                    return None;
                }
                Err(error) if !told => {
                    told = true;
                    renewal
                        .out
                        .note("sortie: relay: the session was not renewed; it is tried again");
                    renewal.out.error(&error);
                }
                Err(_told) => {}
            }
            if schedule.is_over() {
                self.end(Code::TokenExpired, renewal.out);
                return None;
            }
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = self.ended() => return None,
            }
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    /// Takes over what is written to the file. A new token revives a session that had ended.
    async fn follow(&self, path: &Path, out: Output, announce: impl AsyncFn()) {
        let mut last = self.token().ok().map(|token| token.authorization);
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.stale.notified() => {}
            }
            // A file in the middle of being replaced is looked at again.
            let read = config::read_key(path).and_then(|text| Token::read(&text));
            match read {
                Ok(token) if last.as_ref() != Some(&token.authorization) => {
                    last = Some(token.authorization.clone());
                    let _old = self.state.send_replace(State::Live(token));
                    announce().await;
                }
                Ok(token) if token.ends <= wall() => self.end(Code::TokenExpired, out),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

struct Renewal {
    client: Client,
    tenant: String,
    session: String,
    /// Seconds.
    ttl: u64,
    out: Output,
}

impl Renewal {
    async fn ask(&self) -> Result<Token> {
        let path = ["tenants", &self.tenant, "sessions", &self.session];
        let body = json!({ "ttl_seconds": self.ttl });
        let token = token_of(&self.client.post(&path, ":renew", &body).await?)?;
        if token.session == self.session {
            return Ok(token);
        }
        Err(Error::failed(
            "control renewed another session",
            "Is control of the same version?",
        ))
    }
}

/// When a token is due and when it has ended, by two clocks: the monotonic one stands still while a laptop sleeps, the
/// wall clock may be set. Whichever comes first counts.
#[derive(Debug)]
struct Schedule {
    due: Instant,
    due_wall: i64,
    end: Instant,
    end_wall: i64,
}

impl Schedule {
    /// Of a token that was just made. Its life is counted from here, so that our clock need not agree with control's.
    fn new(life: Duration) -> Self {
        // Half of its life, and a tenth of that more or less: many start at once, and should not renew at once.
        let due = life.mul_f64(rand::rng().random_range(0.45..0.55));
        let (now, now_wall) = (Instant::now(), wall());
        Self {
            due: now + due,
            due_wall: now_wall.saturating_add(whole(due)),
            end: now + life,
            end_wall: now_wall.saturating_add(whole(life)),
        }
    }

    async fn due(&self) {
        while Instant::now() < self.due && wall() < self.due_wall.saturating_add(1) {
            sleep(LOOK.min(self.due.saturating_duration_since(Instant::now()))).await;
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end || wall() > self.end_wall
    }
}

/// Seconds since the Unix epoch.
fn wall() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn whole(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests;
