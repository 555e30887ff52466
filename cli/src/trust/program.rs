//! Programs of the system that change stores: found, run, and asked why they failed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::config;
use crate::error::{Error, Result};
use crate::output::printable;

/// Where a program stands. Those that only root needs may not be in everybody's `PATH`.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = config::variable("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs it to its end and answers with what it printed.
///
/// # Errors
/// [`Error::Failed`] with its last words if it fails.
pub(super) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    let path = find(program).ok_or_else(|| {
        Error::failed(
            format!("{program} is not installed"),
            "Install it, and try again.",
        )
    })?;
    let ended = Command::new(path)
        .args(arguments)
        // What a JVM is told by an agent's environment has nothing to do with its store.
        .env_remove("JAVA_TOOL_OPTIONS")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::system("start a program", source))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() {
        return Ok(text(&ended.stdout));
    }
    // keytool complains on its standard output.
    let said = text(&ended.stderr) + &text(&ended.stdout);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(Error::failed(
        format!("{program} failed"),
        printable(last.unwrap_or("It said nothing."), false),
    ))
}
