//! Each fault of the threat model, on a running cluster: `make faults` runs them, `make soak` those that take long.
//!
//! Tests are named by what must hold. Whatever the fault, four things hold after it, and [`invariants::hold`] checks
//! them: no secret is anywhere it does not belong, what reached the upstream is in the audit log, no upstream connection
//! carried two tenants, and no program panicked.

mod away;
#[cfg(target_os = "linux")]
mod clocks;
mod feed;
mod invariants;
mod journal;
mod killed;
mod limits;
pub(crate) mod load;
#[cfg(target_os = "linux")]
mod network;
mod proxy;
#[cfg(target_os = "linux")]
mod processes;
mod upgrade;
