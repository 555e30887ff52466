//! Where a request's body ends: the stream under Pingora stops there, and ends when the framing is odd.
//!
//! Pingora's chunk reader accepts extensions, bare line feeds and empty size lines, and no filter sees them. Bytes of
//! the next request are kept back until it is its turn, so a client may pipeline and nothing is read past its end.

use crate::client::head::Body;

/// The most digits of a chunk's size: 4 GiB a chunk.
const SIZE_DIGITS_MAX: u8 = 8;
/// The most bytes of a trailer section.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// The framing of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Anything passes.
    Open,
    /// So many bytes pass.
    Length(u64),
    /// Chunks pass.
    Chunks(Chunks),
    /// The request has ended; what comes now belongs to the next one.
    Done,
}

/// The framing is not exactly what RFC 9112, 7.1, has a simple client send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of a request are oddly framed")]
pub struct OddFraming;

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// In a size line, after so many digits.
    Size {
        /// How many digits were read.
        digits: u8,
        /// Their value.
        value: u64,
    },
    /// Behind a size line's CR.
    SizeEnd(u64),
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// Behind a chunk.
    DataCr,
    /// Behind a chunk's CR.
    DataLf,
    /// At the start of a trailer line, or of the end.
    LineStart(u32),
    /// In a trailer line.
    Line(u32),
    /// Behind a trailer line's CR.
    LineLf(u32),
    /// Behind the CR of the empty line.
    EndLf,
}

impl Framing {
    /// The framing of a body.
    #[must_use]
    pub const fn of(body: Body) -> Self {
        match body {
            Body::Length(0) => Self::Done,
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunks(Chunks::Size {
                digits: 0,
                value: 0,
            }),
        }
    }

    /// How many of the bytes belong to the request.
    ///
    /// # Errors
    /// [`OddFraming`]: the connection must end.
    pub fn admit(&mut self, bytes: &[u8]) -> Result<usize, OddFraming> {
        match *self {
            Self::Open => Ok(bytes.len()),
            Self::Done => Ok(0),
            Self::Length(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - count as u64;
                *self = if left == 0 {
                    Self::Done
                } else {
                    Self::Length(left)
                };
                Ok(count)
            }
            Self::Chunks(state) => self.admit_chunks(state, bytes),
        }
    }

    fn admit_chunks(&mut self, mut state: Chunks, bytes: &[u8]) -> Result<usize, OddFraming> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Chunks::Data(left) = state {
                let count = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                let left = left - count as u64;
                at += count;
                state = if left == 0 {
                    Chunks::DataCr
                } else {
                    Chunks::Data(left)
                };
                continue;
            }
            at += 1;
            match state.after(byte)? {
                Some(next) => state = next,
                None => {
                    *self = Self::Done;
                    return Ok(at);
                }
            }
        }
        *self = Self::Chunks(state);
        Ok(at)
    }
}

impl Chunks {
    /// The state behind a byte that is not data; `None` at the end of the body.
    fn after(self, byte: u8) -> Result<Option<Self>, OddFraming> {
        let next = match (self, byte) {
            (Self::Size { digits, value }, b'\r') if digits > 0 => Self::SizeEnd(value),
            (Self::Size { digits, value }, byte) if digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(OddFraming)?;
                Self::Size {
                    digits: digits + 1,
                    value: value * 16 + u64::from(digit),
                }
            }
            (Self::SizeEnd(0), b'\n') => Self::LineStart(0),
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size {
                digits: 0,
                value: 0,
            },
            (Self::LineStart(_), b'\r') => Self::EndLf,
            (Self::Line(bytes), b'\r') => Self::LineLf(bytes),
            // A trailer line that starts with a space would fold the one before it.
            (Self::LineStart(_), b' ' | b'\t') => return Err(OddFraming),
            (Self::LineStart(bytes) | Self::Line(bytes), b'\t' | 0x20..=0x7e | 0x80..)
                if bytes < TRAILER_BYTES_MAX =>
            {
                Self::Line(bytes + 1)
            }
            (Self::LineLf(bytes), b'\n') => Self::LineStart(bytes),
            (Self::EndLf, b'\n') => return Ok(None),
            _ => return Err(OddFraming),
        };
        Ok(Some(next))
    }
}
