//! gRPC services over the commands.

pub mod admin;
