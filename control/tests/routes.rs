//! The REST API, route by route, through the router and a real PostgreSQL. Files stand as the URLs do.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "support for tests"
)]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "routes/agents.rs"]
mod agents;
#[path = "routes/credentials.rs"]
mod credentials;
#[path = "routes/grpc.rs"]
mod grpc;
#[path = "routes/openapi.rs"]
mod openapi;
#[path = "routes/services.rs"]
mod services;
#[path = "routes/sessions.rs"]
mod sessions;
#[path = "routes/tenants.rs"]
mod tenants;
#[path = "routes/vaults.rs"]
mod vaults;
