//! The administration API: parse, ask access, call one command, answer.

pub mod grpc;

use crate::config;
use crate::database::Database;
use crate::feed::sequence::Sequencer;
use crate::fleet::Fleet;
use crate::seal::Keys;

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct State {
    /// The database.
    pub database: Database,
    /// Publishes what was committed.
    pub sequencer: Sequencer,
    /// The open keys.
    pub keys: Keys,
    /// The gateways.
    pub fleet: Fleet,
    /// What users see in links.
    pub config: config::Api,
}

/// The API's routes.
pub fn router(state: State) -> axum::Router {
    axum::Router::new().with_state(state)
}
