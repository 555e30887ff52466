//! Counts the HTTP/2 control frames of a client (RFC 9113, 4.1).
//!
//! The h2 crate has no budget for PING, SETTINGS, PRIORITY, `WINDOW_UPDATE` or resets after accept: each makes work, and
//! none makes progress. More of them in a second than [`CONTROL_FRAMES_MAX`], without a HEADERS or DATA frame for every
//! few, end the connection.

use std::time::Duration;

use tokio::time::Instant;

/// The most control frames in a second beyond what the requests and data in the same second account for.
pub const CONTROL_FRAMES_MAX: u32 = 100;
/// The length of the client's preface.
const PREFACE: u32 = 24;
const HEADER: usize = 9;

/// A client that sends control frames and makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many HTTP/2 control frames")]
pub struct TooManyFrames;

/// Follows the frames of one connection.
#[derive(Debug)]
pub struct Frames {
    /// Bytes to pass over before the next frame header.
    skip: u32,
    header: [u8; HEADER],
    filled: usize,
    since: Instant,
    control: u32,
}

impl Frames {
    /// Starts in front of the preface.
    #[must_use]
    pub fn new() -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            filled: 0,
            since: Instant::now(),
            control: 0,
        }
    }

    /// Follows bytes that the client sent.
    ///
    /// # Errors
    /// [`TooManyFrames`]: the connection must end.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TooManyFrames> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = usize::try_from(self.skip)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            for (&byte, slot) in bytes.iter().zip(self.header.iter_mut().skip(self.filled)) {
                *slot = byte;
            }
            let count = (HEADER - self.filled).min(bytes.len());
            self.filled += count;
            bytes = bytes.get(count..).unwrap_or_default();
            if self.filled == HEADER {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), TooManyFrames> {
        let [high, middle, low, kind, ..] = self.header;
        self.skip = u32::from_be_bytes([0, high, middle, low]);
        // DATA with bytes and HEADERS are progress: each pays for the window update or two that go with it.
        let progress = (kind == 0 && self.skip > 0) || kind == 1;
        if progress {
            self.control = self.control.saturating_sub(2);
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
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}
