//! The whole cluster as processes, driven by real clients: control on its own PostgreSQL, a gateway, a recording
//! upstream, and curl, git, Python and Node in front, the SDKs, and coding agents.
//!
//! Every test has a cluster of its own and ends with `Cluster::finish`, which searches everything that the processes
//! and clients left behind for the secrets that the test made. The binaries stand beside `sortie`:
//! `cargo build --workspace --bins` makes them, and `make test` does that first.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test owns its tasks, reads its environment, keeps its own time and says what it skips; its support is \
              not taken for a test"
)]
#![expect(
    clippy::too_many_lines,
    reason = "a scenario is read from top to bottom"
)]

mod support;
mod agents;
mod base_url;
mod catalog;
mod clients;
#[cfg(target_os = "linux")]
mod container;
#[cfg(target_os = "linux")]
mod counts;
#[cfg(target_os = "linux")]
mod doctor;
mod echoes;
mod faults;
mod fleet;
mod guide;
#[cfg(target_os = "linux")]
mod isolate;
mod keyless;
mod limits;
#[cfg(target_os = "linux")]
mod redirected;
mod refusals;
mod relay;
mod revocation;
mod run;
mod shown;
mod sdks;
mod sidecars;
mod stalls;
mod trust;
mod vendors;
mod ways;
mod websocket;
