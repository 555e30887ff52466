//! From a permit to an answer without secrets.

pub mod credential;
pub mod inject;
pub mod peer;
pub mod redact;
