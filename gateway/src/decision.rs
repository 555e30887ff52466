//! From a request to a [`Permit`](policy::Permit). Pure: reads the snapshot and the clock that it is given.

pub mod limit;
pub mod matching;
pub mod policy;
