//! Processors that programs keep to. On a machine with few of them the generator waits for one while the gateway works,
//! and what is measured is that wait: so the gateway can be given some of its own, and all else the others.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};

/// Processors of this machine, by number: `1`, `0,2`, `4-7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

/// Who keeps to which; without it all programs share all.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Apart {
    /// Processors that gateways (and proxies beside them) keep to, such as `1` or `2-3`. Linux only.
    #[arg(long, value_name = "LIST", requires = "others_cpus")]
    pub gateway_cpus: Option<Cpus>,
    /// Processors that all else keeps to: the generator, the upstream, control and its database.
    #[arg(long, value_name = "LIST", requires = "gateway_cpus")]
    pub others_cpus: Option<Cpus>,
}

impl Apart {
    /// Keeps this process, and what it starts, to the processors of the others. To be called before it has threads.
    ///
    /// # Errors
    /// When there are no such processors.
    pub fn keep(&self) -> Result<()> {
        self.others_cpus.as_ref().map_or(Ok(()), Cpus::keep)
    }

    /// Starts a gateway on its processors.
    ///
    /// # Errors
    /// When there are no such processors, or it does not start.
    pub fn start_gateway<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(cpus) = &self.gateway_cpus else {
            return start();
        };
        // What is started keeps to the processors of the thread that starts it.
        let own = Cpus::of_this_thread()?;
        cpus.keep()?;
        let started = start();
        own.keep()?;
        started
    }

    /// All processors that programs are on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn all(&self) -> Result<Vec<usize>> {
        match (&self.gateway_cpus, &self.others_cpus) {
            (Some(gateway), Some(others)) => Ok([&*gateway.0, &*others.0].concat()),
            _ => Ok(Cpus::of_this_thread()?.0),
        }
    }

    /// How it was measured, in a sentence.
    #[must_use]
    pub fn note(&self) -> String {
        match (&self.gateway_cpus, &self.others_cpus) {
            (Some(gateway), Some(others)) => format!(
                "Gateways kept to processor {gateway}; the generator, the upstream, control and PostgreSQL to {others}."
            ),
            _ => "All programs shared all processors.".to_owned(),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Cpus {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let parsed = text.trim().parse::<usize>();
                parsed.with_context(|| format!("{text} is no number of a processor"))
            };
            cpus.extend(number(first)?..=number(last)?);
        }
        ensure!(!cpus.is_empty(), "{text} names no processor");
        Ok(Self(cpus))
    }
}

#[cfg(target_os = "linux")]
impl Cpus {
    /// Keeps this thread, and what it starts from here on, to them.
    fn keep(&self) -> Result<()> {
        let mut set = nix::sched::CpuSet::new();
        for cpu in &self.0 {
            set.set(*cpu)?;
        }
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
            .with_context(|| format!("this machine lacks processors {self}"))
    }

    fn of_this_thread() -> Result<Self> {
        let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
        let all = 0..nix::sched::CpuSet::count();
        let is_set = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
        Ok(Self(all.filter(is_set).collect()))
    }
}

/// Keeps this thread to a processor. Answers the thread's id.
///
/// # Errors
/// When there is no such processor.
#[cfg(target_os = "linux")]
pub fn keep_this_thread(cpu: usize) -> Result<u32> {
    Cpus(vec![cpu]).keep()?;
    Ok(u32::try_from(nix::unistd::gettid().as_raw())?)
}

/// Keeps this thread to a processor.
///
/// # Errors
/// Always: it needs Linux.
#[cfg(not(target_os = "linux"))]
pub fn keep_this_thread(cpu: usize) -> Result<u32> {
    anyhow::bail!("keeping a thread to processor {cpu} needs Linux")
}

#[cfg(not(target_os = "linux"))]
impl Cpus {
    fn keep(&self) -> Result<()> {
        anyhow::bail!("keeping programs to processors {self} needs Linux")
    }

    fn of_this_thread() -> Result<Self> {
        anyhow::bail!("keeping programs to processors needs Linux")
    }
}

#[cfg(test)]
mod tests;
