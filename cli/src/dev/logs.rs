//! `sortie dev logs`: the ends of the log files of a cluster, and what they grow by.
//!
//! Invariants: reading needs no running cluster; what programs wrote cannot steer a terminal; a line is shown once and
//! whole.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::sleep;

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::interrupt::Stop;
use crate::output::{Output, printable};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie dev logs
  sortie dev logs --component gateway --lines 20
  sortie dev logs -f --component control --component gateway";

/// How often files are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How much of a file is read at once, in bytes.
const CHUNK: u64 = 256 * 1024;
/// How much of a file's end is shown at most, in bytes.
const SHOWN_MAX: u64 = 4 * 1024 * 1024;
/// The longest line that is held back until it ends, in bytes.
const LINE_MAX: usize = 64 * 1024;

/// A program with a log of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Component {
    /// `sortie dev` itself, in the background
    Dev,
    /// The control plane
    Control,
    /// The gateway
    Gateway,
    /// The private database
    Postgres,
}

impl Component {
    const ALL: [Self; 4] = [Self::Dev, Self::Control, Self::Gateway, Self::Postgres];

    /// What it is called, and where its log is.
    pub(super) fn log(self, layout: &Layout) -> (&'static str, PathBuf) {
        match self {
            Self::Dev => ("dev", layout.dev_log()),
            Self::Control => ("control", layout.control_log()),
            Self::Gateway => ("gateway", layout.gateway_log()),
            Self::Postgres => ("postgres", layout.postgres_log()),
        }
    }
}

/// Which logs, and how much.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Go on with what is written, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Only this one's; may be repeated [default: all]
    #[arg(long, short, value_enum)]
    component: Vec<Component>,
    /// How many lines of each to begin with
    #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
    lines: usize,
}

/// Shows them.
///
/// # Errors
/// [`Error::Failed`] if there is none, and [`Error::File`].
pub(super) async fn run(options: &Options, layout: &Layout, out: Output) -> Result<()> {
    let chosen = if options.component.is_empty() {
        Component::ALL.to_vec()
    } else {
        options.component.clone()
    };
    let mut tails: Vec<_> = chosen
        .into_iter()
        .map(|component| {
            let (name, path) = component.log(layout);
            (name, Tail::new(path))
        })
        .collect();
    if !options.follow && !tails.iter().any(|(_, tail)| tail.path.exists()) {
        return Err(Error::failed(
            format!("there is no log in {}", layout.folder().display()),
            "`sortie dev --detach` starts a cluster; --data-dir names another folder.",
        ));
    }
    // Before anything is shown: who has read something may press Ctrl-C.
    let mut stop = Stop::catch()?;
    let many = tails.len() > 1;
    for (name, tail) in &mut tails {
        let lines = tail.read()?;
        let first = lines.len().saturating_sub(options.lines);
        if !show(name, lines.get(first..).unwrap_or_default(), many, out) {
            return Ok(());
        }
    }
    if !options.follow {
        return Ok(());
    }
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(()),
            () = sleep(POLL) => {}
        }
        for (name, tail) in &mut tails {
            let lines = tail.read()?;
            if !show(name, &lines, many, out) {
                return Ok(());
            }
        }
    }
}

/// False if nobody reads any more.
fn show(name: &str, lines: &[String], many: bool, out: Output) -> bool {
    lines.iter().all(|line| {
        let text = printable(line, false);
        out.offer(&if many {
            format!("{} {text}", out.dim(&format!("{name:<8} |")))
        } else {
            text
        })
    })
}

/// A file that grows, read line by line. It may not be there yet, and may be replaced by a new one.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    /// Which file it was.
    inode: Option<u64>,
    /// How far it was read, in bytes.
    at: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Tail {
    /// From near its end.
    fn new(path: PathBuf) -> Self {
        let length = fs::metadata(&path).map_or(0, |meta| meta.len());
        Self::from(path, length.saturating_sub(SHOWN_MAX))
    }

    /// From a place on, in bytes.
    pub(super) const fn from(path: PathBuf, at: u64) -> Self {
        Self {
            path,
            inode: None,
            at,
            rest: Vec::new(),
        }
    }

    /// The lines that came since the last time.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn read(&mut self) -> Result<Vec<String>> {
        let failed = |source| Error::file("read", &self.path, source);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let meta = file.metadata().map_err(failed)?;
        if self.inode.is_some_and(|inode| inode != meta.ino()) || meta.len() < self.at {
            self.at = 0;
            self.rest.clear();
        }
        self.inode = Some(meta.ino());
        let mut lines = Vec::new();
        while self.at < meta.len() {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(self.at))
                .and_then(|_| (&file).take(CHUNK).read_to_end(&mut bytes))
                .map_err(|source| Error::file("read", &self.path, source))?;
            if bytes.is_empty() {
                break;
            }
            self.at += bytes.len() as u64;
            self.rest.append(&mut bytes);
            self.take_lines(&mut lines);
        }
        Ok(lines)
    }

    fn take_lines(&mut self, lines: &mut Vec<String>) {
        let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.rest.len() > LINE_MAX => self.rest.len(),
            None => return,
        };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        lines.extend(String::from_utf8_lossy(&whole).lines().map(str::to_owned));
    }
}

#[cfg(test)]
mod tests;
