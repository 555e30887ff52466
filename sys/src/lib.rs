//! Every FFI call of Sortie, each with its SAFETY note.

pub mod process;
