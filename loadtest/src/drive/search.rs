//! Looks for a secret in an answer that comes in pieces.

use memchr::memmem::{Finder, find};

/// A search. What is searched for may begin in one piece and end in a later one.
#[derive(Debug)]
pub struct Search<'a> {
    secret: Finder<'a>,
    /// The end of what came: it may be the beginning of a secret.
    tail: Vec<u8>,
}

impl<'a> Search<'a> {
    /// For a secret; an empty one is nowhere.
    #[must_use]
    pub fn new(secret: &'a [u8]) -> Self {
        Self {
            secret: Finder::new(secret),
            tail: Vec::new(),
        }
    }

    /// Whether the secret ends in this piece.
    pub fn sees(&mut self, piece: &[u8]) -> bool {
        let needle = self.secret.needle();
        let Some(kept) = needle.len().checked_sub(1) else {
            return false;
        };
        // Only the beginning of a piece can end what the one before began.
        let head = piece.get(..kept).unwrap_or(piece);
        self.tail.extend_from_slice(head);
        let over_the_border = find(&self.tail, needle).is_some();
        if piece.len() >= kept {
            self.tail.clear();
            self.tail.extend(piece.iter().skip(piece.len() - kept));
        } else {
            let old = self.tail.len().saturating_sub(kept);
            self.tail.drain(..old);
        }
        over_the_border || self.secret.find(piece).is_some()
    }
}

#[cfg(test)]
mod tests;
