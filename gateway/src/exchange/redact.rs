//! Takes injected values out of answers: in headers and, as a stream, in bodies. A mask is exactly as long as what it
//! hides.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use sortie_proto::secret::Secret;

use super::credential::Opened;

/// Everything that one credential may look like in an answer.
#[derive(Debug)]
pub struct Masks {}

impl Masks {
    /// Works out the encodings of a value. `joined` are values that it is sent as part of, such as a Basic pair.
    #[must_use]
    pub fn new(value: &Secret, joined: &[Secret]) -> Self {
        let _ = (value, joined);
        todo!()
    }
}

/// Masks one answer.
#[derive(Debug)]
pub struct Redactor {}

impl Redactor {
    /// Makes one for the credentials that a request used; `None` when it used none.
    #[must_use]
    pub fn new(used: &[Arc<Opened>]) -> Option<Self> {
        let _ = used;
        todo!()
    }

    /// A header value with what must be hidden masked; `None` when nothing is.
    #[must_use]
    pub fn header(&mut self, value: &HeaderValue) -> Option<HeaderValue> {
        let _ = value;
        todo!()
    }

    /// Takes a chunk of a body and gives back what may leave. Holds back the bytes that may be the start of a value.
    #[must_use]
    pub fn body(&mut self, chunk: Bytes, end: bool) -> Bytes {
        let _ = (chunk, end);
        todo!()
    }

    /// How many times something was masked.
    #[must_use]
    pub fn count(&self) -> u32 {
        todo!()
    }
}
