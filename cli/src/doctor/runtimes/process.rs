//! Runs a program to its end, or to the end of its time.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::table::Runtime;

/// How much of what it prints is read, in bytes; the rest is thrown away.
const OUTPUT_MAX: usize = 256 * 1024;

/// A program that ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Its time was up.
    pub(super) is_late: bool,
}

/// Its process group, which goes with this: a program that is started by another one too.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left in it, most times.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs it in the folder, unless it is one that looks for settings where it is started.
///
/// # Errors
/// If it cannot be started.
pub(super) async fn run(
    runtime: &Runtime,
    arguments: &[String],
    folder: &Path,
    time: Duration,
) -> io::Result<Ended> {
    let mut command = Command::new(runtime.program);
    command
        .args(arguments)
        .envs(runtime.environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if !runtime.looks_around {
        command.current_dir(folder);
    }
    sortie_sys::process::die_with_parent(command.as_std_mut());
    let mut child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = Group(id.map(Pid::from_raw));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(time, async {
        tokio::join!(read(out, &mut stdout), read(err, &mut stderr), child.wait()).2
    })
    .await;
    drop(group);
    let is_late = ended.is_err();
    if let Ok(status) = ended {
        status?;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended {
        stdout: text(stdout),
        stderr: text(stderr),
        is_late,
    })
}

async fn read(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 8192];
    // An error is an end: what was read is told.
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let room = OUTPUT_MAX.saturating_sub(into.len()).min(length);
        into.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}
