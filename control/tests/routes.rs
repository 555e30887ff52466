//! The administration API through its router. Files stand as the URLs do.

mod agents;
mod credentials;
mod environment;
mod grpc;
mod limits;
mod openapi;
mod services;
mod sessions;
mod tenants;
mod vaults;
