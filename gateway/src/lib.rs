//! The data plane: what happens to one request, from the agent's socket to an answer without secrets.
//!
//! [`client`] turns a socket into a decrypted stream with a known caller. [`decision`] turns a request on it into a
//! permit or a refusal. [`exchange`] turns a permit into an answer: the credential in, the answer back, the credential
//! masked. [`journal`] records it before the credential leaves. All of them read [`snapshot`], which control fills.
//!
//! A stage may import `error`, `metrics`, `snapshot`, and the stages before it on the path; never one after it.

pub mod clock;
pub mod tasks;
pub mod ready;
pub mod metrics;
pub mod pressure;
pub mod config;
pub mod client;
pub mod decision;
pub mod exchange;
pub mod journal;
pub mod snapshot;
pub mod context;
pub mod phases;
pub mod broker;
pub mod admin;
pub mod handover;
pub mod supervisor;
pub mod logging;
pub mod trust;
mod wiring;
mod drain;
pub mod server;
mod fail;
pub mod error;
pub mod reply;
#[cfg(test)]
mod fixture;
pub mod p256;
