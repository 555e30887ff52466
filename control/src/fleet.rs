//! A stand-in for the fleet.
pub mod enrol;

/// The gateways.
#[derive(Debug, Clone)]
pub struct Fleet;
