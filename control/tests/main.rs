//! The control plane over a real PostgreSQL: one cluster for the process, one database a test.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    clippy::too_many_lines,
    reason = "tests, and support that clippy does not know to be for tests"
)]

mod support;

mod routes;
mod walls;
mod order;
mod seal;
mod feed;
mod fleet;
mod herd;
mod fence;
mod enforce;
mod revoke;
mod gateways;
mod journal;
mod limits;
mod private;
mod migrations;
mod mixed;
