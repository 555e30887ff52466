//! Takes injected values out of answers: in headers and, as a stream, in bodies. A mask is exactly as long as what it
//! hides.
//!
//! **Invariants.** Whatever the chunks, the output has the length of the input once the stream has ended, and every
//! byte that belongs to an occurrence of a pattern is masked, where occurrences overlap too. Bytes are held back only
//! while they may be the start of an occurrence, so at most as many as the longest pattern has, less one.
//! A header's name cannot be masked: what is found in one, in any case, is for the caller to remove.
//!
//! [`messages`] follows the frames of a WebSocket. Not here: decoding compressed answers, which answers are scanned, and
//! what flushes at the end of a gRPC message.

mod encodings;
mod machine;
pub mod messages;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use sortie_proto::secret::Secret;

use self::encodings::Pattern;
use self::machine::Machine;

/// Everything that one credential may look like in an answer: the value and its encodings of at least 8 bytes.
///
/// What finds them is built once for each credential version and holds copies of the value; it lives and dies with
/// [`Opened`](super::credential::Opened).
pub struct Masks {
    patterns: Vec<Pattern>,
    finder: Arc<Finder>,
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masks(…)")
    }
}

impl Masks {
    /// Works out the encodings of a value. `joined` are values that it is sent as part of in base64, such as a Basic
    /// pair.
    #[must_use]
    pub fn new(value: &Secret, joined: &[Secret]) -> Self {
        let patterns = encodings::patterns(value, joined);
        let finder = Arc::new(Finder::new(patterns.iter()));
        Self { patterns, finder }
    }
}

/// What finds the patterns of the credentials of one request. Made of several, it costs as much as to make all of them.
#[derive(Debug)]
pub struct Finder {
    text: Machine,
    /// For names of headers, which are lower-cased: patterns that can stand in one, lower-cased too.
    names: Machine,
}

impl Finder {
    /// Finds what several values may look like: one machine, so that no occurrence of one breaks an occurrence of
    /// another.
    #[must_use]
    pub fn of(masks: &[&Masks]) -> Arc<Self> {
        match masks {
            [one] => Arc::clone(&one.finder),
            several => Arc::new(Self::new(several.iter().flat_map(|masks| &masks.patterns))),
        }
    }

    fn new<'a>(patterns: impl Iterator<Item = &'a Pattern> + Clone) -> Self {
        let names = encodings::in_names(patterns.clone());
        Self {
            text: Machine::new(patterns),
            names: Machine::new(names.iter()),
        }
    }
}

/// Masks one answer: its headers, and one body as a stream.
#[derive(Debug)]
pub struct Redactor {
    finder: Arc<Finder>,
    /// The end of what came, unmasked: it may be the start of an occurrence.
    tail: Vec<u8>,
    /// How many bytes of the tail belong to an occurrence that began before it, and their mask.
    covered: Run,
    count: u32,
}

/// The masked bytes at the start of a buffer.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    len: usize,
    mask: u8,
}

impl Redactor {
    /// Makes one for one answer.
    #[must_use]
    pub const fn new(finder: Arc<Finder>) -> Self {
        Self {
            finder,
            tail: Vec::new(),
            covered: Run { len: 0, mask: 0 },
            count: 0,
        }
    }

    /// Another one for the same answer, with a stream of its own.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::new(Arc::clone(&self.finder))
    }

    /// Whether a header's name or value holds something that must be hidden. Nothing is counted.
    #[must_use]
    pub fn finds(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        self.finder.names.finds(name.as_str().as_bytes())
            || self.finder.text.finds(value.as_bytes())
    }

    /// Whether a header's name holds something that must be hidden, in any case. It cannot be masked: the header has to
    /// go, and counts as masked.
    #[must_use]
    pub fn hides_name(&mut self, name: &HeaderName) -> bool {
        let found = self.finder.names.finds(name.as_str().as_bytes());
        self.count = self.count.saturating_add(u32::from(found));
        found
    }

    /// A header value with what must be hidden masked; `None` when nothing is.
    #[must_use]
    pub fn header(&mut self, value: &HeaderValue) -> Option<HeaderValue> {
        if !self.finder.text.finds(value.as_bytes()) {
            return None;
        }
        let mut bytes = value.as_bytes().to_vec();
        let mut cover = Cover::new(&mut bytes, Run::default(), 0, 0);
        self.finder.text.scan(&mut cover);
        self.count = self.count.saturating_add(cover.count);
        // Masks are visible ASCII, so that a value stays a value; were it not so, it would be hidden whole.
        Some(HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("*")))
    }

    /// Takes a chunk of a body and gives back what may leave. Holds back the bytes that may be the start of a value.
    ///
    /// A chunk in which nothing is found, behind one that held nothing back, leaves without being copied.
    #[must_use]
    pub fn body(&mut self, chunk: Bytes, end: bool) -> Bytes {
        let old = self.tail.len();
        let mut buffer = if old == 0 {
            chunk
        } else {
            self.tail.extend_from_slice(&chunk);
            Bytes::from(std::mem::take(&mut self.tail))
        };
        let held = if end {
            0
        } else {
            self.finder.text.hold(&buffer)
        };
        let cut = buffer.len().saturating_sub(held);
        self.tail = buffer.get(cut..).unwrap_or_default().to_vec();
        if self.covered.len > 0 || self.finder.text.finds(&buffer) {
            let mut bytes = buffer
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&*shared));
            let mut cover = Cover::new(&mut bytes, self.covered, old, cut);
            self.finder.text.scan(&mut cover);
            self.count = self.count.saturating_add(cover.count);
            self.covered = cover.finish();
            buffer = bytes.freeze();
        }
        buffer.truncate(cut);
        buffer
    }

    /// Ends the stream without more bytes: what was held back, masked where it belongs to an occurrence.
    ///
    /// After it, or after [`body`](Self::body) with `end`, the next body may begin.
    #[must_use]
    pub fn flush(&mut self) -> Bytes {
        self.body(Bytes::new(), true)
    }

    /// How many bytes are held back.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.tail.len()
    }

    /// How many times something was masked. Occurrences that overlap count once.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// A buffer that is masked while it is read: only bytes that were read are ever covered.
struct Cover<'a> {
    bytes: &'a mut [u8],
    carried: Run,
    /// How many bytes the last call has seen already: occurrences that end among them were counted.
    seen: usize,
    /// What comes after this leaves later.
    cut: usize,
    /// How far occurrences that began before the cut reach, and the mask of the one that reaches farthest.
    reach: Run,
    /// The bytes covered last, so that the next occurrence covers only what is new: without it a value of one letter
    /// would cost its length for each byte.
    run: std::ops::Range<usize>,
    count: u32,
}

impl<'a> Cover<'a> {
    fn new(bytes: &'a mut [u8], carried: Run, seen: usize, cut: usize) -> Self {
        Self {
            bytes,
            carried,
            seen,
            cut,
            reach: carried,
            run: 0..carried.len,
            count: 0,
        }
    }

    fn mask(&mut self, occurrence: std::ops::Range<usize>, mask: u8) {
        if occurrence.start < self.cut && occurrence.end > self.reach.len {
            self.reach = Run {
                len: occurrence.end,
                mask,
            };
        }
        if occurrence.start >= self.run.end || self.run.is_empty() {
            self.count += u32::from(occurrence.end > self.seen);
            self.fill(occurrence.clone(), mask);
            self.run = occurrence;
            return;
        }
        // Occurrences come in the order of their ends, so this one ends at the run's end or behind it.
        self.fill(self.run.end..occurrence.end, mask);
        if occurrence.start < self.run.start {
            self.fill(occurrence.start..self.run.start, mask);
        }
        self.run = occurrence.start.min(self.run.start)..occurrence.end.max(self.run.end);
    }

    fn fill(&mut self, range: std::ops::Range<usize>, mask: u8) {
        if let Some(bytes) = self.bytes.get_mut(range) {
            bytes.fill(mask);
        }
    }

    /// Covers what was carried in and says what is carried on.
    fn finish(mut self) -> Run {
        // Only what leaves now: the carried bytes behind the cut are in the next buffer again.
        self.fill(0..self.carried.len.min(self.bytes.len()), self.carried.mask);
        Run {
            len: self.reach.len.saturating_sub(self.cut),
            mask: self.reach.mask,
        }
    }
}

#[cfg(test)]
mod tests;
