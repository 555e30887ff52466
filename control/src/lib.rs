//! The control plane: admin API, database, feed, keys.
//!
//! Calls go down the listing (`access`, `api` → `command` → `database`); changes flow on (`database` → `feed` →
//! `fleet`). The database is the truth; everything in memory can be lost at any moment.

pub mod server;
pub mod config;
pub mod error;
pub mod metrics;
pub mod ready;
pub mod tasks;
pub mod admin;
pub mod access;
pub mod api;
pub mod command;
pub mod database;
pub mod fence;
pub mod seal;
pub mod authority;
pub mod feed;
pub mod fleet;
