//! The limit on open files: it decides how many connections a process may hold.

use anyhow::{Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many open files are enough for anything here.
const FILES: u64 = 65_536;

/// Lets this process, and those that it starts from here on, have as many open files as it may.
///
/// # Errors
/// When it may not have as many as are needed.
pub fn raise_file_limit(needed: usize) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Not to the end: some programs walk over all that they might have.
    let raised = hard.min(FILES).max(soft);
    let needed = u64::try_from(needed)?;
    ensure!(
        raised >= needed,
        "{needed} open files are needed; the limit is {hard} (ulimit -Hn)"
    );
    Ok(setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?)
}
