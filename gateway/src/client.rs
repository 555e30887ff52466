//! From the socket to a decrypted stream with a known caller.

pub mod authenticate;
pub mod connect;
