//! The program `handover`: watches processes share kernel objects, inspects handle tables and finds handle leaks.
//!
//! Each subcommand is a file with its options and its output. [`exit`] has all exit codes.

mod audit;
mod check;
mod columns;
mod exit;
mod new;
mod os;
mod record;
mod run;
mod shared;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use exit::Stop;

/// Watch processes share kernel objects, inspect handle tables, find handle leaks
#[derive(Debug, Parser)]
#[command(name = "handover", version, after_help = exit::EXIT_CODES)]
struct Arguments {
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 100)]
    #[arg(help = "When to use colors; auto uses them on a terminal, unless NO_COLOR or CLICOLOR=0 is set")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(record::Options),
    Table(table::Options),
    Shared(shared::Options),
    Audit(audit::Options),
    Check(check::Options),
    New(new::Options),
    Run(run::Options),
    #[command(hide = true)]
    DemoRole(record::roles::Options),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  handover completions bash > /etc/bash_completion.d/handover\n  \
        handover completions powershell | Out-String | Invoke-Expression")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Finds the value of `--color` before the arguments are parsed, because the parser itself prints help and errors.
    /// Arguments behind `--` belong to another command. The parser reports invalid values later.
    fn of_arguments(arguments: impl Iterator<Item = OsString>) -> Self {
        let mut color = Self::Auto;
        let mut arguments = arguments.take_while(|argument| argument != "--");
        while let Some(argument) = arguments.next() {
            let value = match argument.to_str() {
                Some("--color") => arguments.next(),
                Some(text) => text.strip_prefix("--color=").map(OsString::from),
                None => None,
            };
            let value = value.and_then(|value| Self::from_str(value.to_str()?, false).ok());
            color = value.unwrap_or(color);
        }
        color
    }

    /// Applies the choice to everything that this process prints, including the parser's help and errors.
    fn apply(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

fn main() -> ExitCode {
    Color::of_arguments(std::env::args_os().skip(1)).apply();
    let arguments = Arguments::parse();
    arguments.color.apply();
    os::reset_signals();
    let outcome = match arguments.command {
        Command::Demo(options) => record::demo(&options),
        Command::DemoRole(options) => record::roles::play(&options),
        Command::Table(options) => table::table(&options),
        Command::Shared(options) => shared::shared(&options),
        Command::Audit(options) => audit::audit(&options),
        Command::Check(options) => check::check(&options),
        Command::New(options) => new::new(&options),
        Command::Run(options) => run::run(&options),
        Command::Completions { shell } => completions(shell),
    };
    exit::code_of(outcome)
}

fn completions(shell: Shell) -> Result<(), Stop> {
    let mut script = Vec::new();
    // The generator would offer the hidden subcommands too.
    let all = Arguments::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command = clap::Command::new("handover")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(visible);
    clap_complete::generate(shell, &mut command, "handover", &mut script);
    exit::print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn color_is_found_before_the_arguments_are_parsed() {
        for (arguments, expected) in [
            (&["demo"][..], Color::Auto),
            (&["--color", "always", "demo"], Color::Always),
            (&["demo", "--color=never", "--help"], Color::Never),
            (&["--color=always", "demo", "--color=never"], Color::Never),
            (&["--color=sometimes"], Color::Auto),
            (&["--color"], Color::Auto),
            (&["run", "--", "ls", "--color=always"], Color::Auto),
        ] {
            let found = Color::of_arguments(arguments.iter().map(OsString::from));
            assert_eq!(found, expected, "{arguments:?}");
        }
    }
}
