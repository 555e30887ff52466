//! Drives a running Sortie from outside and measures it.
//!
//! [`upstream`] is the other end: a TLS server that records every request and echoes credentials in every way that an
//! answer can carry them.

pub mod upstream;
pub mod client;
