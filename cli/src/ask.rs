//! Secrets that a person types, or that standard input or a file holds.
//!
//! Invariants: nothing is echoed, nothing comes from an argument, and the buffer has room from the start, for one that
//! grows leaves copies behind. Deliberately not here: what a secret has to be like; whoever asks knows that.

use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use sortie_proto::secret::Secret;

use crate::error::{Error, Result};

/// How long a line end is at most, in bytes: CR LF.
const LINE_END: usize = 2;

/// Reads a secret from standard input, where that is wanted or no terminal; otherwise asks for it without echo.
///
/// One that is longer than `bytes_max` is cut, but is longer than `bytes_max` still, so that its length tells.
///
/// # Errors
/// [`Error::System`] if it cannot be read.
pub(crate) fn secret(prompt: &str, stdin: bool, bytes_max: usize) -> Result<Secret> {
    let input = io::stdin();
    if stdin || !input.is_terminal() {
        return bounded(input, bytes_max)
            .map_err(|source| Error::system("read standard input", source));
    }
    let typed = dialoguer::Password::new()
        .with_prompt(format!("{prompt} (not shown)"))
        .interact()
        .map_err(|dialoguer::Error::IO(source)| Error::system("read the answer", source))?;
    Ok(Secret::new(typed.into_bytes()))
}

/// Reads a secret from a file, as from standard input.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn file(path: &Path, bytes_max: usize) -> Result<Secret> {
    std::fs::File::open(path)
        .and_then(|file| bounded(file, bytes_max))
        .map_err(|source| Error::file("read", path, source))
}

/// Reads all of it, without one line end at its end; of what is too long, one byte more than `bytes_max`.
fn bounded(from: impl Read, bytes_max: usize) -> io::Result<Secret> {
    let room = bytes_max + LINE_END + 1;
    let mut bytes = Vec::with_capacity(room);
    from.take(u64::try_from(room).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests;
