//! How a WebSocket ends that the process must end: with a Close frame, 1001 "going away" (RFC 6455, 7.4.1), between two
//! frames of the upstream's.
//!
//! It follows what is written to the agent: the head of the answer, and if that is a 101, frame after frame. Once it is
//! told, the next place between two of them is its own, and nothing follows it. The agent's answer to it goes to the
//! upstream as any frame does, which then closes as well.
//!
//! It looks at lengths only. A message that stops in its middle is not closed: it is cut a moment later.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;

/// A Close frame of a server, with the status 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// The opcode of a Close frame.
const CLOSE: u8 = 0x8;
/// What an answer that switches begins with, but for the version's last digit.
const SWITCHING: &[u8] = b"HTTP/1.1 101";
/// What every other interim answer begins with.
const INTERIM: &[u8] = b"HTTP/1.1 1";

/// What a WebSocket's agent is told at the end.
pub struct Farewell {
    told: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    is_told: bool,
    at: At,
    /// Whether a write waits to be taken up again with the same bytes.
    is_pending: bool,
    /// How much of the Close frame was sent.
    said: usize,
}

/// Where in what is written the next byte is.
#[derive(Debug, PartialEq, Eq)]
enum At {
    /// In the head of an answer: how it begins, and how much of its empty line was seen.
    Head { start: Vec<u8>, end: usize },
    /// In the head of a frame, so much of which was written.
    Frame(Vec<u8>),
    /// In a frame, of which so many bytes are to come.
    Content(u64),
    /// Behind the end, or in what is no WebSocket.
    Over,
}

impl At {
    const fn head() -> Self {
        Self::Head {
            start: Vec::new(),
            end: 0,
        }
    }
}

impl fmt::Debug for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Farewell")
            .field("is_told", &self.is_told)
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}

impl Farewell {
    /// It is said once `closing` is true, if there is a WebSocket then.
    #[must_use]
    pub fn when(mut closing: watch::Receiver<bool>) -> Self {
        let told = async move {
            if closing.wait_for(|closing| *closing).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        Self {
            told: Box::pin(told),
            is_told: false,
            at: At::head(),
            is_pending: false,
            said: 0,
        }
    }

    /// Whether it was said: then nothing may follow.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.said == GOING_AWAY.len()
    }

    /// What of it is to be written now, if anything.
    pub fn poll_due(&mut self, cx: &mut Context<'_>) -> Option<&'static [u8]> {
        if !self.is_told && matches!(self.at, At::Frame(_) | At::Content(_) | At::Head { .. }) {
            self.is_told = self.told.as_mut().poll(cx).is_ready();
        }
        let is_between = matches!(&self.at, At::Frame(head) if head.is_empty());
        if !self.is_told || !is_between || self.is_pending {
            return None;
        }
        // The slice is that of a constant, so that a write which waits finds it in the same place.
        const FRAME: &[u8] = &GOING_AWAY;
        FRAME.get(self.said..).filter(|rest| !rest.is_empty())
    }

    /// So much of it was written.
    pub const fn said(&mut self, count: usize) {
        self.said += count;
    }

    /// Takes note of a write.
    pub fn follow(&mut self, result: &Poll<io::Result<usize>>, bytes: &[u8]) {
        self.is_pending = result.is_pending();
        if let Poll::Ready(Ok(count)) = result {
            self.pass(bytes.get(..*count).unwrap_or_default());
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, behind)) = bytes.split_first() {
            match &mut self.at {
                At::Over => return,
                At::Content(left) => {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                    *left -= length;
                    let length = usize::try_from(length).unwrap_or(bytes.len());
                    bytes = bytes.get(length..).unwrap_or_default();
                    if *left == 0 {
                        self.at = At::Frame(Vec::new());
                    }
                }
                At::Head { start, end } => {
                    if start.len() < SWITCHING.len() {
                        start.push(byte);
                    }
                    *end = match (byte, *end) {
                        (b'\r', 0 | 2) | (b'\n', 1 | 3) => *end + 1,
                        (b'\r', _) => 1,
                        _ => 0,
                    };
                    if *end == 4 {
                        self.at = behind_head(start);
                    }
                    bytes = behind;
                }
                At::Frame(head) => {
                    head.push(byte);
                    if let Some(next) = behind_frame_head(head) {
                        self.at = next;
                    }
                    bytes = behind;
                }
            }
        }
    }
}

/// What comes behind the head of an answer that begins so.
fn behind_head(start: &[u8]) -> At {
    if start.starts_with(SWITCHING) {
        At::Frame(Vec::new())
    } else if start.starts_with(INTERIM) {
        At::head()
    } else {
        At::Over
    }
}

/// What comes behind the head of a frame (RFC 6455, 5.2), if it is whole.
fn behind_frame_head(head: &[u8]) -> Option<At> {
    let (&first, &second) = (head.first()?, head.get(1)?);
    let masked = if second & 0x80 == 0 { 0 } else { 4 };
    let (extended, length) = match second & 0x7f {
        126 => (2, number(head.get(2..4)?)),
        127 => (8, number(head.get(2..10)?)),
        short => (0, u64::from(short)),
    };
    if head.len() < 2 + extended + masked {
        return None;
    }
    Some(match length {
        _ if first & 0x0f == CLOSE => At::Over,
        0 => At::Frame(Vec::new()),
        length => At::Content(length),
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
