//! A stand-in for the authorities.
pub mod tenant;
