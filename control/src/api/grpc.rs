//! The gRPC services. Thin: each method parses, calls one function of the layers below, and answers.

pub mod admin;
pub mod feed;
pub mod journal;
