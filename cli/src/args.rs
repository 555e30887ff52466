//! The arguments, as `--help` shows them. Every command's help ends with an example (a test checks it).

use clap::{Args as Group, Parser, Subcommand};

use crate::dev;
use crate::doctor;
use crate::env;
use crate::import;
use crate::manual;
use crate::output::Format;
use crate::profile;
use crate::relay;
use crate::run;
use crate::trust;
use crate::verbs::Verb;

/// A broker of credentials: agents hold none, and use them all the same.
#[derive(Debug, Parser)]
#[command(name = "sortie", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sortie dev                                       the whole cluster on this machine
  sortie import --dry-run                          which secrets lie around here
  sortie service add github                        everything that GitHub's clients need
  sortie run -- curl https://api.github.com/user   a command that holds no token

The API key comes from SORTIE_API_KEY, from the file that SORTIE_API_KEY_FILE names, or from a profile.
Exit codes: 0 done, 1 failed, 2 wrong usage, 64 bad configuration, 69 not reachable, 77 refused.
`sortie run` answers with the exit code of its command, `sortie dev status` with 1 if it is not ready.";

/// Where control is. The key is never an argument.
#[derive(Debug, Group)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The API of control [default: the profile's, or port 7300 of this machine]
    #[arg(long, global = true, env = "SORTIE_API_URL", value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// The profile in ~/.config/sortie/config.toml [default: its `current`]
    #[arg(long, global = true, env = "SORTIE_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The tenant, by id or name [default: the key's own]
    #[arg(long, global = true, env = "SORTIE_TENANT", value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// Send the key over plain HTTP to another machine
    #[arg(long, global = true)]
    pub(crate) allow_http: bool,
    /// How answers are printed
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole cluster on this machine, and show a brokered request
    #[command(after_help = dev::EXAMPLE)]
    Dev(dev::Options),
    /// Run a command behind the gateway, with a session of its own
    #[command(after_help = run::EXAMPLE)]
    Run(run::Options),
    /// Find out why traffic does not go through Sortie, and how to fix it
    #[command(after_help = doctor::EXAMPLE)]
    Doctor(doctor::Options),
    /// Put the tenant's authority into the stores that this machine's programs trust, or take it out
    #[command(subcommand, after_help = trust::EXAMPLE)]
    Trust(trust::Act),
    /// Print the environment of a session, for what is started elsewhere: a shell, a container, a pod
    #[command(after_help = env::EXAMPLE)]
    Env(env::Options),
    /// Move the secrets of files and of the environment into a vault
    #[command(after_help = import::EXAMPLE)]
    Import(import::Options),
    /// Hold a session beside an agent, renew it, and speak to the gateway for it
    #[command(after_help = relay::EXAMPLE)]
    Relay(relay::Options),
    /// A step of `run --isolate`
    #[cfg(target_os = "linux")]
    #[command(name = "__inside", hide = true, after_help = run::isolate::inside::EXAMPLE)]
    Inside(run::isolate::inside::Options),
    #[command(flatten)]
    Verb(Verb),
    /// Profiles: several clusters, each by a name
    #[command(subcommand, after_help = profile::EXAMPLE)]
    Profile(profile::Act),
    /// Print what a shell reads to complete the words of this command
    #[command(after_help = manual::COMPLETIONS_EXAMPLE)]
    Completions(manual::Completions),
    /// Write manual pages to a folder
    #[command(after_help = manual::MAN_EXAMPLE)]
    Man(manual::Man),
}

/// Reads `90`, `90s`, `15m`, `12h` or `7d` as seconds.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3_600),
        Some((at, 'd')) => (text.get(..at), 86_400),
        _ => (Some(text), 1),
    };
    digits
        .and_then(|digits| digits.parse::<u32>().ok())
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| "write a number of seconds, or 15m, 12h, 7d".to_owned())
}

/// Reads `key=value`.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests;
