//! The `sortie` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sortie_cli::start()
}
