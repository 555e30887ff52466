//! `sortie dev --detach` and `sortie dev stop`: a cluster that outlives the terminal, and its end.
//!
//! Invariants: the start returns when the cluster is ready or has ended, and shows what it said meanwhile; a start that
//! is broken off leaves nothing running; stopping is asked for once and waited for, within a bound.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::instance::{self, Phase, Record};
use super::layout::Layout;
use super::logs::Tail;
use super::{process, status};
use crate::args;
use crate::error::{Error, Result};
use crate::interrupt::Stop;
use crate::output::{Output, printable};

pub(super) const STOP_EXAMPLE: &str = "\
Examples:
  sortie dev stop
  sortie dev stop --timeout 30s

It is no failure if nothing runs. The data stays, and the next start goes on with it.";

/// How often the other process is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long to wait.
#[derive(Debug, Args)]
pub(super) struct Patience {
    /// How long to wait for its end
    #[arg(long, default_value = "90s", value_parser = args::seconds, value_name = "TIME")]
    timeout: u32,
}

/// Starts `sortie dev` with the same options in a session of its own, and waits until it is ready.
///
/// # Errors
/// [`Error::File`] and [`Error::System`] if it cannot be started.
pub(super) async fn start(demo: bool, layout: &Layout, out: Output) -> Result<ExitCode> {
    if let Some(record) = instance::find(layout.folder()).await? {
        let layout = Layout::find(layout.folder(), record.port_base);
        return Err(status::already(&record, &layout));
    }
    // Before the child is started: a signal in between would leave it alone.
    let mut stop = Stop::catch()?;
    let (mut child, mut log) = spawn(demo, layout)?;
    loop {
        tokio::select! {
            ended = child.wait() => {
                let status = ended.map_err(|source| Error::system("wait for `sortie dev`", source))?;
                relay(&mut log, out);
                out.note(&format!("sortie: it did not start; its words are in {}", layout.dev_log().display()));
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                return Ok(ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1)));
            }
            () = stop.asked() => return give_up(child, &mut stop).await,
            () = sleep(POLL) => {}
        }
        // Who runs cannot be told while it takes the folder.
        let found = instance::find(layout.folder()).await.ok().flatten();
        relay(&mut log, out);
        let ours = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(record) =
            found.filter(|found| Some(found.pid) == ours && found.phase == Phase::Ready)
        {
            if out.is_json() {
                out.done(&status::describe(&record, layout), "")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn spawn(demo: bool, layout: &Layout) -> Result<(Child, Tail)> {
    let path = layout.dev_log();
    let open = |source| Error::file("open", &path, source);
    let (output, begin) = process::open_log(&path).map_err(open)?;
    let errors = output.try_clone().map_err(open)?;
    let program =
        std::env::current_exe().map_err(|source| Error::system("find `sortie` itself", source))?;
    let mut command = Command::new(&program);
    command
        .args([
            "dev",
            "--detached",
            "--port-base",
            &layout.base().to_string(),
            "--data-dir",
        ])
        .arg(layout.folder());
    if !demo {
        command.arg("--no-demo");
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|source| Error::file("start", &program, source))?;
    Ok((child, Tail::from(path, begin)))
}

/// Shows what it said. Programs that read our answer find it on standard error.
fn relay(log: &mut Tail, out: Output) {
    for line in log.read().unwrap_or_default() {
        let line = printable(&line, false);
        if out.is_json() {
            out.note(&line);
        } else {
            out.line(&line);
        }
    }
}

/// Hands the signal on, which the session of its own kept from it; a second one cuts its waiting short.
async fn give_up(mut child: Child, stop: &mut Stop) -> Result<ExitCode> {
    loop {
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let asked = kill(Pid::from_raw(id), Signal::SIGTERM);
            asked.map_err(|errno| Error::system("stop `sortie dev`", errno.into()))?;
        }
        tokio::select! {
            ended = child.wait() => {
                ended.map_err(|source| Error::system("wait for `sortie dev`", source))?;
                break;
            }
            () = stop.asked() => {}
        }
    }
    Err(Error::failed(
        "it was broken off before it was ready",
        "Nothing runs, and the data stays.",
    ))
}

/// Stops the cluster of a folder, if there is one.
///
/// # Errors
/// [`Error::Failed`] if it takes too long.
pub(super) async fn stop(patience: &Patience, layout: &Layout, out: Output) -> Result<()> {
    let folder = layout.folder();
    let Some(record) = instance::find(folder).await? else {
        let body = json!({"stopped": false, "data_dir": folder});
        return out.done(&body, &format!("nothing runs in {}", folder.display()));
    };
    let began = Instant::now();
    record.ask_to_stop()?;
    let deadline = began + Duration::from_secs(patience.timeout.into());
    while runs_still(&record, layout).await {
        if Instant::now() >= deadline {
            return Err(Error::failed(
                format!(
                    "process {} did not end within {} s",
                    record.pid, patience.timeout
                ),
                format!(
                    "Wait longer, or end it: kill -KILL {}. The data outlives that.",
                    record.pid
                ),
            ));
        }
        sleep(POLL).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    out.done(
        &json!({"stopped": true, "pid": record.pid, "data_dir": folder}),
        &format!(
            "stopped process {} {}",
            record.pid,
            out.dim(&format!("{seconds:.1} s"))
        ),
    )
}

/// A start that followed at once is another matter. What cannot be told is waited for.
async fn runs_still(record: &Record, layout: &Layout) -> bool {
    match instance::find(layout.folder()).await {
        Ok(found) => found.is_some_and(|found| found.is_same(record)),
        Err(_) => true,
    }
}
