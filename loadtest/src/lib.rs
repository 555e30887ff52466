//! Drives a running Sortie from outside and measures it.
//!
//! [`upstream`] is the other end: a TLS server that records every request and echoes credentials in every way that an
//! answer can carry them. [`mod@bench`] starts all processes, drives them in alternating runs, and compares; it also trains
//! the instrumented gateway of a profile-guided build. [`tunnels`] holds many idle tunnels open. [`audit`] and [`mint`]
//! measure a control [`alone`]: journals taken in, sessions minted. Nothing here is part of the product: it speaks to it
//! by HTTP, gRPC and signals only; rows are counted in its database.

pub mod upstream;
pub mod client;
pub mod tunnels;
pub mod bench;
pub mod alone;
pub mod audit;
pub mod mint;
