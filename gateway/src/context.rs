//! What each stage of a request left for the next. One per request, made by Pingora's `new_ctx`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sortie_proto::code::Code;

use crate::client::Inbound;
use crate::decision::limit::Slot;
use crate::decision::policy::Permit;
use crate::error::{Error, Result};
use crate::exchange::inject::Injection;
use crate::exchange::peer::upgrade::Gate;
use crate::exchange::redact::Redactor;
use crate::exchange::redact::messages::Messages;
use crate::journal::entry::Entry;
use crate::reply::Place;

/// The state of one request.
#[derive(Debug, Default)]
pub struct Context {
    /// Who calls and where to.
    pub inbound: Option<Arc<Inbound>>,
    /// Its entry in the journal.
    pub entry: Option<Entry>,
    /// The decision and what comes of it.
    pub exchange: Option<Exchange>,
    /// The classified addresses that are left to try, none before they were looked up; the first is the one in use.
    pub addresses: Vec<SocketAddr>,
    /// What holds the upstream's answer back until the request has ended, for one that asks for a WebSocket.
    pub gate: Option<Arc<Gate>>,
    /// Masks the answer; `None` when nothing was injected or the service does not ask for it.
    pub masking: Option<Masking>,
    /// Why a stage stopped the request: Pingora's own error says only that one did.
    pub failed: Option<Code>,
}

/// A permit, and what it puts into the request.
#[derive(Debug)]
pub struct Exchange {
    /// The request's place among those that are open, until it ends.
    pub slot: Slot,
    /// The decision.
    pub permit: Permit,
    /// What goes in.
    pub injection: Injection,
    /// Whether the answer is masked.
    pub redact: bool,
    /// Whether the client asks for a WebSocket.
    pub upgrade: bool,
}

/// The masking of one answer.
#[derive(Debug)]
pub struct Masking {
    /// Does it.
    pub redactor: Redactor,
    /// Says where nothing may be held back.
    pub ends: Ends,
}

/// Where a body has an end that comes before the end of the stream.
///
/// An HTTP/2 upstream that ends in trailers never reports the end of its body: what was held back would be lost, or
/// would have to replace the trailers. So it is let go where the body itself says that it is complete.
#[derive(Debug)]
pub enum Ends {
    /// Only at the end of the stream.
    Stream,
    /// After so many more bytes.
    Length(u64),
    /// At the end of each gRPC message: a five-byte prefix with its length, then the message.
    Messages {
        /// Bytes of the prefix so far.
        prefix: Vec<u8>,
        /// Bytes of the message to come.
        left: u64,
    },
    /// At the end of each message of a WebSocket, whose headers are no part of what is masked.
    WebSocket(Box<Messages>),
}

impl Ends {
    /// For gRPC.
    #[must_use]
    pub const fn messages() -> Self {
        Self::Messages {
            prefix: Vec::new(),
            left: 0,
        }
    }

    /// Follows a chunk; says whether something ends with its last byte.
    pub fn after(&mut self, chunk: &[u8]) -> bool {
        match self {
            Self::Stream | Self::WebSocket(_) => false,
            Self::Length(left) => {
                *left = left.saturating_sub(chunk.len() as u64);
                *left == 0
            }
            Self::Messages { prefix, left } => messages_after(prefix, left, chunk),
        }
    }
}

fn messages_after(prefix: &mut Vec<u8>, left: &mut u64, mut chunk: &[u8]) -> bool {
    while !chunk.is_empty() {
        if *left > 0 {
            let count = usize::try_from(*left)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            *left -= count as u64;
            chunk = chunk.get(count..).unwrap_or_default();
            continue;
        }
        let (part, rest) = chunk
            .split_at_checked(5 - prefix.len())
            .unwrap_or((chunk, &[]));
        prefix.extend_from_slice(part);
        chunk = rest;
        if let [_flags, length @ ..] = prefix.as_slice()
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            *left = u64::from(u32::from_be_bytes(length));
            prefix.clear();
        }
    }
    *left == 0 && prefix.is_empty()
}

impl Masking {
    /// Masks a chunk; at an end nothing stays held back.
    ///
    /// # Errors
    /// `upstream_protocol` for a WebSocket's frame that is not well-formed: nothing more of the answer may leave.
    pub fn chunk(&mut self, chunk: Bytes, end: bool) -> Result<Bytes> {
        if let Ends::WebSocket(messages) = &mut self.ends {
            return messages
                .mask(&mut self.redactor, chunk, end)
                .map_err(|bad| Error::because(Code::UpstreamProtocol, bad));
        }
        let ends = self.ends.after(&chunk);
        Ok(self.redactor.body(chunk, end || ends))
    }

    /// How many times something was masked.
    #[must_use]
    pub fn count(&self) -> u32 {
        let beside = match &self.ends {
            Ends::WebSocket(messages) => messages.count(),
            Ends::Stream | Ends::Length(_) | Ends::Messages { .. } => 0,
        };
        self.redactor.count().saturating_add(beside)
    }
}

impl Context {
    /// Who calls and where to.
    ///
    /// # Errors
    /// `internal` for a request that did not come through our own loops.
    pub fn inbound(&self) -> Result<&Arc<Inbound>> {
        self.inbound
            .as_ref()
            .ok_or_else(|| Error::from(Code::Internal))
    }

    /// The decision and what comes of it.
    ///
    /// # Errors
    /// `internal` before there is one.
    pub fn exchange(&self) -> Result<&Exchange> {
        self.exchange
            .as_ref()
            .ok_or_else(|| Error::from(Code::Internal))
    }

    /// Counts bytes of a body, of the request or of the answer.
    pub fn passed(&mut self, body: Option<&Bytes>) {
        if let (Some(exchange), Some(body)) = (&mut self.exchange, body) {
            exchange.slot.count(body.len() as u64);
        }
    }

    /// Who reads the answers that we write.
    #[must_use]
    pub fn place(&self) -> Place {
        match &self.inbound {
            Some(inbound) if inbound.base.is_some() => Place::Base,
            Some(inbound) if !inbound.tunnelled => Place::Proxy,
            _ => Place::Tunnel,
        }
    }

    /// Gives the address in use up, which did not take the connection, for the next one; says whether there is one.
    pub fn next_address(&mut self) -> bool {
        let more = self.addresses.len() > 1;
        if more {
            self.addresses.remove(0);
        }
        more
    }

    /// Takes down why the request goes no further. The first reason stands.
    pub fn fail(&mut self, code: Code) {
        let first = *self.failed.get_or_insert(code);
        if let Some(entry) = &mut self.entry {
            entry.fail(first);
        }
    }
}

#[cfg(test)]
mod tests;
