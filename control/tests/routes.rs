//! The REST API, route by route, through the router and a real PostgreSQL. Files stand as the URLs do.
#![expect(missing_docs, reason = "tests")]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "routes/agents.rs"]
mod agents;
#[path = "routes/credentials.rs"]
mod credentials;
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
