//! Counts the HTTP/2 control frames of a client (RFC 9113, 4.1).
//!
//! The h2 crate has no budget for PING, SETTINGS, PRIORITY, `WINDOW_UPDATE` or resets after accept: each makes work, and
//! none makes progress. HEADERS and DATA, in either direction, are progress, and pay for the control frames that go with
//! them: a client that downloads sends window updates and nothing else. What nothing pays for is bounded.
//!
//! Resets have a budget of their own, since a request that is cancelled at once makes work for an upstream too
//! (CVE-2023-44487). Requests do not pay for them; answers do.

use std::time::Duration;

use tokio::time::Instant;

/// The most control frames in a second that no progress pays for.
pub const CONTROL_FRAMES_MAX: u32 = 100;
/// The most control frames that progress pays for ahead: the client may have megabytes in its buffers when it starts to
/// read, and gives their window back piece by piece.
const CREDIT_MAX: u32 = 8_192;
/// What a frame that is progress pays for, whatever its length.
const CREDIT: u32 = 2;
/// How many bytes of DATA towards the client pay for one control frame more: Go gives a window back every 4 KiB, of the
/// stream and of the connection.
const BYTES_PER_CREDIT: u32 = 1_024;
/// The fewest resets at once that a connection has a budget for.
const RESETS_MIN: u32 = 100;
/// How many resets a second are forgotten.
const RESETS_PER_SECOND: u32 = 50;
/// The length of the client's preface.
const PREFACE: u32 = 24;
const HEADER: usize = 9;

/// Types of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// A client that sends control frames and makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many HTTP/2 control frames")]
pub struct TooManyFrames;

/// Follows the frames of one connection.
#[derive(Debug)]
pub struct Frames {
    received: Cursor,
    sent: Cursor,
    /// Control frames that are paid for.
    credit: u32,
    since: Instant,
    control: u32,
    /// Resets that are left.
    resets: u32,
    resets_max: u32,
    refilled: Instant,
}

/// Where in the frames of one direction the next byte is.
#[derive(Debug)]
struct Cursor {
    /// Bytes to pass over before the next frame header.
    skip: u32,
    header: [u8; HEADER],
    filled: usize,
}

/// The start of a frame.
#[derive(Debug, Clone, Copy)]
struct Start {
    kind: u8,
    length: u32,
}

impl Start {
    const fn is_progress(self) -> bool {
        (self.kind == DATA && self.length > 0) || self.kind == HEADERS
    }
}

impl Cursor {
    const fn new(skip: u32) -> Self {
        Self {
            skip,
            header: [0; HEADER],
            filled: 0,
        }
    }

    /// Takes bytes off, up to and with the next frame header.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Start> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
                let count = skip.min(bytes.len());
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                *bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            for (&byte, slot) in bytes.iter().zip(self.header.iter_mut().skip(self.filled)) {
                *slot = byte;
            }
            let count = (HEADER - self.filled).min(bytes.len());
            self.filled += count;
            *bytes = bytes.get(count..).unwrap_or_default();
            if self.filled == HEADER {
                self.filled = 0;
                let [high, middle, low, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, high, middle, low]);
                return Some(Start {
                    kind,
                    length: self.skip,
                });
            }
        }
        None
    }
}

impl Frames {
    /// Starts in front of the preface. The client may reset as many streams at once as it may have open.
    #[must_use]
    pub fn new(streams_max: u32) -> Self {
        let resets_max = streams_max.max(RESETS_MIN);
        let now = Instant::now();
        Self {
            received: Cursor::new(PREFACE),
            sent: Cursor::new(0),
            credit: 0,
            since: now,
            control: 0,
            resets: resets_max,
            resets_max,
            refilled: now,
        }
    }

    /// Follows bytes that the client sent.
    ///
    /// # Errors
    /// [`TooManyFrames`]: the connection must end.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TooManyFrames> {
        while let Some(start) = self.received.next(&mut bytes) {
            if start.is_progress() {
                self.earn(CREDIT);
            } else if start.kind == RST_STREAM {
                self.reset()?;
            } else {
                self.spend()?;
            }
        }
        Ok(())
    }

    /// Follows bytes that were sent to the client.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(start) = self.sent.next(&mut bytes) {
            if start.kind == HEADERS {
                self.resets = self.resets.saturating_add(1).min(self.resets_max);
            }
            if start.is_progress() {
                self.earn(CREDIT + start.length / BYTES_PER_CREDIT);
            }
        }
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(CREDIT_MAX);
    }

    fn spend(&mut self) -> Result<(), TooManyFrames> {
        if let Some(left) = self.credit.checked_sub(1) {
            self.credit = left;
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.control = 0;
        }
        self.control += 1;
        if self.control > CONTROL_FRAMES_MAX {
            return Err(TooManyFrames);
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), TooManyFrames> {
        let now = Instant::now();
        let seconds = now.duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.refilled += Duration::from_secs(seconds);
            let forgotten = u32::try_from(seconds).unwrap_or(u32::MAX);
            let forgotten = forgotten.saturating_mul(RESETS_PER_SECOND);
            self.resets = self.resets.saturating_add(forgotten).min(self.resets_max);
        }
        self.resets = self.resets.checked_sub(1).ok_or(TooManyFrames)?;
        Ok(())
    }
}
