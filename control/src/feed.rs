//! A stand-in for the feed.
pub mod sequence;
