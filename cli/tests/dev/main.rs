//! `sortie dev` as processes: in the background, looked at, stopped, killed, and refused.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test keeps its own time and fails by panicking; its support is not taken for a test"
)]

mod support;
mod background;
mod examples;
#[cfg(target_os = "linux")]
mod images;
mod packages;
