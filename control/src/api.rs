//! The administration API: parse, ask access, call one command, answer.

pub mod grpc;
