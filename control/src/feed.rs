//! From committed rows to an ordered stream.
//!
//! A change commits with an `outbox` row; [`sequence`] gives it a dense revision; [`listen`] is woken and pulls it into
//! [`read::Log`], which all streams of this replica share; [`snapshot`] reads vaults whole, and [`cache`] keeps them for
//! all. Nothing is lost: a reader asks for the last plus one and accepts nothing else, and `NOTIFY` only wakes.

pub mod listen;
pub mod sequence;
pub mod read;
pub mod signals;
pub mod snapshot;
pub mod cache;
