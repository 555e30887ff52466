//! What describes the command besides `--help`: completions for shells, and manual pages.
//!
//! Both are made from the arguments themselves, so they cannot say anything else.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::Shell as Generator;
use serde_json::json;

use crate::error::{Error, Result};
use crate::output::Output;

pub(crate) const COMPLETIONS_EXAMPLE: &str = "\
Examples:
  sortie completions bash > ~/.local/share/bash-completion/completions/sortie
  sortie completions zsh > ~/.zfunc/_sortie
  sortie completions fish > ~/.config/fish/completions/sortie.fish";

pub(crate) const MAN_EXAMPLE: &str = "\
Examples:
  sortie man ~/.local/share/man/man1

Then `man sortie` and `man sortie-credential-set` show them.";

/// For whom.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that completes words.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

impl From<Shell> for Generator {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder; it is made if it is not there
    folder: PathBuf,
}

/// Prints what a shell reads to complete the words of `sortie`.
pub(crate) fn completions(options: &Completions, command: &clap::Command, out: Output) {
    out.line(script(options.shell, command).trim_end());
}

fn script(shell: Shell, command: &clap::Command) -> String {
    let mut text = Vec::new();
    let mut shown = shown(command);
    clap_complete::generate(Generator::from(shell), &mut shown, "sortie", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// What of a command `--help` shows. The generator for Bash offers what is hidden, too.
fn shown(command: &clap::Command) -> clap::Command {
    let name = command.get_name().to_owned();
    let arguments = command.get_arguments().filter(|it| !it.is_hide_set());
    let below = command.get_subcommands().filter(|it| !it.is_hide_set());
    let mut copy = clap::Command::new(name)
        .args(arguments.cloned())
        .subcommands(below.map(shown))
        .visible_aliases(command.get_visible_aliases().map(str::to_owned))
        .subcommand_required(command.is_subcommand_required_set());
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    copy
}

/// Writes a page for the command and one for each verb.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn man(options: &Man, command: clap::Command, out: Output) -> Result<()> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder).map_err(|source| Error::file("make", folder, source))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let pages = write_pages(&command, folder)?;
    out.done(
        &json!({"pages": pages, "folder": folder}),
        &format!("{pages} pages in {}", folder.display()),
    )
}

fn write_pages(command: &clap::Command, folder: &Path) -> Result<usize> {
    let mut written = 0;
    for child in command
        .get_subcommands()
        .filter(|child| !child.is_hide_set())
    {
        written += write_pages(child, folder)?;
    }
    clap_mangen::Man::new(command.clone())
        .manual("Sortie")
        .generate_to(folder)
        .map_err(|source| Error::file("write a page in", folder, source))?;
    Ok(written + 1)
}

#[cfg(test)]
mod tests;
