//! The messages of a WebSocket on their way to the agent (RFC 6455, 5.2): payloads are masked as one stream for each
//! message, headers stay.
//!
//! **Invariants.** What is searched is what the client puts together: the payloads of a message's frames, one behind the
//! other, so that a value is found though a header, or a whole control frame, stands in it. Nothing of a message is held
//! back behind its end. A frame that is masked with a key, or that an extension has changed, could not be searched: it
//! ends the connection.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Redactor;

/// The most payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// The most bytes of frames that wait for held-back bytes of a message. Values are shorter, so that only a server that
/// writes a message in very many pieces, or control frames into the middle of a value, can come here.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// What a server may not send to a client that offered no extension (RFC 6455, 5.1 and 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the upstream's WebSocket is not well-formed")]
pub struct BadFrame;

/// Where in the frames the next byte is, and what waits.
#[derive(Debug)]
pub struct Messages {
    /// The header that is being read.
    header: Vec<u8>,
    /// Bytes of the frame's payload to come.
    left: u64,
    kind: Kind,
    /// Whether a message has begun and not ended.
    open: bool,
    /// A control frame, header and all: it leaves in one piece.
    control: BytesMut,
    /// Control frames have payloads of their own.
    masks_control: Redactor,
    /// How many bytes of messages have left.
    sent: u64,
    /// How many bytes of messages have come.
    taken: u64,
    /// What stands between bytes of messages, and behind how many of them.
    waiting: VecDeque<(u64, Bytes)>,
    waiting_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data { last: bool },
    Control,
}

impl Messages {
    /// At the first frame. Messages are masked with the other redactor, control frames with this one.
    #[must_use]
    pub fn new(masks_control: Redactor) -> Self {
        Self {
            header: Vec::new(),
            left: 0,
            kind: Kind::Control,
            open: false,
            control: BytesMut::new(),
            masks_control,
            sent: 0,
            taken: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// How many times something was masked in control frames.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.masks_control.count()
    }

    /// Masks what came; gives back what may leave.
    ///
    /// # Errors
    /// [`BadFrame`]: the connection must end, and nothing of this chunk may leave.
    pub fn mask(
        &mut self,
        messages: &mut Redactor,
        chunk: Bytes,
        end: bool,
    ) -> Result<Bytes, BadFrame> {
        let mut rest = chunk;
        // The middle of a long frame leaves as it is.
        let inside = self.kind != Kind::Control && self.left > rest.len() as u64;
        if inside && self.waiting.is_empty() && !end {
            self.left -= rest.len() as u64;
            self.taken += rest.len() as u64;
            let masked = messages.body(rest, false);
            self.sent += masked.len() as u64;
            return Ok(masked);
        }
        let mut out = BytesMut::with_capacity(rest.len());
        while !rest.is_empty() {
            if self.left == 0 {
                self.header
                    .push(rest.split_to(1).first().copied().unwrap_or_default());
                if let Some(length) = payload_length(&self.header)? {
                    self.begin(length, messages, &mut out)?;
                }
                continue;
            }
            let count = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let part = rest.split_to(count);
            self.left -= count as u64;
            self.payload(part, messages, &mut out);
        }
        if end {
            let held = messages.flush();
            self.leave(&held, &mut out);
        }
        Ok(out.freeze())
    }

    /// A header is complete.
    fn begin(
        &mut self,
        length: u64,
        messages: &mut Redactor,
        out: &mut BytesMut,
    ) -> Result<(), BadFrame> {
        let first = self.header.first().copied().unwrap_or_default();
        let last = first & 0x80 != 0;
        self.kind = match first & 0x7f {
            0 if self.open => Kind::Data { last },
            1 | 2 if !self.open => Kind::Data { last },
            8..=10 if last && length <= CONTROL_BYTES_MAX => Kind::Control,
            _ => return Err(BadFrame),
        };
        self.left = length;
        let header = std::mem::take(&mut self.header);
        match self.kind {
            Kind::Control => self.control.extend_from_slice(&header),
            Kind::Data { last } => {
                self.open = !last;
                self.wait(header.into(), messages, out);
            }
        }
        if length == 0 {
            self.payload(Bytes::new(), messages, out);
        }
        Ok(())
    }

    /// A part of a payload, or all of it.
    fn payload(&mut self, part: Bytes, messages: &mut Redactor, out: &mut BytesMut) {
        let ends = self.left == 0;
        match self.kind {
            Kind::Control => {
                let masked = self.masks_control.body(part, ends);
                self.control.extend_from_slice(&masked);
                if ends {
                    let frame = self.control.split().freeze();
                    self.wait(frame, messages, out);
                }
            }
            Kind::Data { last } => {
                self.taken += part.len() as u64;
                let masked = messages.body(part, ends && last);
                self.leave(&masked, out);
            }
        }
    }

    /// Puts what is no payload of a message behind the payload that came before it.
    fn wait(&mut self, bytes: Bytes, messages: &mut Redactor, out: &mut BytesMut) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back((self.taken, bytes));
        let held = if self.waiting_bytes > WAITING_BYTES_MAX {
            messages.flush()
        } else {
            Bytes::new()
        };
        self.leave(&held, out);
    }

    /// Lets payload leave, and between its bytes what waited for them.
    fn leave(&mut self, mut payload: &[u8], out: &mut BytesMut) {
        while let Some((at, _)) = self.waiting.front() {
            let before = usize::try_from(at - self.sent).unwrap_or(usize::MAX);
            let Some((first, rest)) = payload.split_at_checked(before) else {
                break;
            };
            out.extend_from_slice(first);
            self.sent += first.len() as u64;
            payload = rest;
            if let Some((_, bytes)) = self.waiting.pop_front() {
                self.waiting_bytes -= bytes.len();
                out.extend_from_slice(&bytes);
            }
        }
        out.extend_from_slice(payload);
        self.sent += payload.len() as u64;
    }
}

/// The length of the payload, once the header is complete.
fn payload_length(header: &[u8]) -> Result<Option<u64>, BadFrame> {
    let [first, second, extended @ ..] = header else {
        return Ok(None);
    };
    // Reserved bits are an extension's, and a server does not mask with a key.
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(BadFrame);
    }
    let bytes = match second {
        126 => 2,
        127 => 8,
        length => return Ok(Some(u64::from(*length))),
    };
    if extended.len() < bytes {
        return Ok(None);
    }
    let length = extended
        .iter()
        .fold(0, |length, byte| length << 8 | u64::from(*byte));
    if length > u64::MAX >> 1 {
        return Err(BadFrame);
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests;
