//! `handover`: see handles being shared, look into handle tables, catch leaks.
//!
//! Each subcommand is a file with its options and its output; [`ending`] has all exit codes.

mod audit;
mod columns;
mod exit;
mod os;
mod record;
mod run;
mod shared;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use exit::Stop;

/// See handles being shared, look into handle tables, catch leaks
#[derive(Debug, Parser)]
#[command(name = "handover", version, after_help = exit::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(record::Options),
    Table(table::Options),
    Shared(shared::Options),
    Audit(audit::Options),
    Run(run::Options),
    #[command(hide = true)]
    DemoRole(record::roles::Options),
    /// Print a script that completes this program's words in a shell
    #[command(after_help = "Examples:\n  handover completions bash > /etc/bash_completion.d/handover\n  \
        handover completions powershell | Out-String | Invoke-Expression")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => record::demo(&options),
        Command::DemoRole(options) => record::roles::play(&options),
        Command::Table(options) => table::table(&options),
        Command::Shared(options) => shared::shared(&options),
        Command::Audit(options) => audit::audit(&options),
        Command::Run(options) => run::run(&options),
        Command::Completions { shell } => completions(shell),
    };
    exit::end(outcome)
}

fn completions(shell: Shell) -> Result<(), Stop> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "handover", &mut script);
    exit::print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }
}
