//! How the program prints its output and its errors, and its exit codes.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use handover::Error;
use serde_json::Value;

/// The exit codes, for the help text.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    success; audit: no handle leaks; check: all requirements hold
  1    failure, see standard error; audit: a handle leaks, or a process can't be inspected;
       check: a requirement doesn't hold
  2    wrong usage
  3    audit: no handle leaks, but the command itself failed; check: a process did not exit in time
  124  run, audit: the command did not exit before the timeout and was killed
  125  run, audit, check: an object could not be created, or the command could not be watched
  126  run, audit, check: the command was found, but could not be started
  127  run, audit, check: the command was not found

Otherwise, run exits with the exit code of its command.";

/// The exit codes with a meaning of their own.
pub(crate) mod code {
    /// The program failed, or the audit found a leak.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage; the argument parser uses the same code.
    pub(crate) const USAGE: u8 = 2;
    /// The audit found no leak, but the audited command failed; or the checked pair didn't exit in time.
    pub(crate) const COMMAND_FAILED: u8 = 3;
    /// The command did not exit before the timeout, as for timeout(1).
    pub(crate) const TIMED_OUT: u8 = 124;
    /// The command was never started, because its preparation failed, as for env(1).
    pub(crate) const SETUP_FAILED: u8 = 125;
    /// The command was found but could not be started, as for env(1).
    pub(crate) const CANNOT_START: u8 = 126;
    /// The command was not found, as for env(1).
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// The reason why a subcommand stops before it succeeds.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The subcommand failed. The message is still to be printed.
    Failed { code: u8, message: String },
    /// Everything is printed; the program exits with this code.
    Exit(i32),
    /// The reader of standard output has closed it, as `head` does. This is not a failure.
    OutputClosed,
}

impl Stop {
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::Failed { code: code::FAILED, message: message.to_string() }
    }

    pub(crate) fn with_code(code: u8, message: impl Display) -> Self {
        Self::Failed { code, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::with_code(code::USAGE, message)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::failed(WithAdvice(&error))
    }
}

/// An error of the library, printed with advice for the user of this program.
pub(crate) struct WithAdvice<'a>(pub(crate) &'a Error);

impl Display for WithAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::BatchFile { path, .. } => {
                write!(
                    f,
                    "{path:?} is a batch file, which can't be started directly; start cmd.exe /c with its path"
                )
            }
            Error::AccessDenied { call, object, right, .. } => write!(
                f,
                "{call} was denied for {object}, because the right {right} is missing; {}",
                crate::os::ACCESS_ADVICE
            ),
            // The advice is about access to processes, not to names or files.
            Error::System { source, context, .. }
                if source.kind() == io::ErrorKind::PermissionDenied && context.starts_with("process ") =>
            {
                write!(f, "{}; {}", self.0, crate::os::ACCESS_ADVICE)
            }
            // The folders of PATH are many, and the user knows them.
            Error::ProgramNotFound { program, .. } if !is_path(program) => {
                write!(
                    f,
                    "program {program:?} not found in the folders of PATH; install it, or give its path"
                )
            }
            other => other.fmt(f),
        }
    }
}

/// Returns the error of a command that could not be run, with the exit code that env(1) uses for the reason.
pub(crate) fn not_run(error: &Error) -> Stop {
    let code = match error {
        Error::ProgramNotFound { .. } => code::NOT_FOUND,
        Error::CannotExecute { .. } | Error::BatchFile { .. } => code::CANNOT_START,
        Error::System { call, .. } if *call == crate::os::SPAWN_CALL => code::CANNOT_START,
        _ => code::SETUP_FAILED,
    };
    Stop::with_code(code, WithAdvice(error))
}

fn is_path(program: &str) -> bool {
    Path::new(program).parent().is_some_and(|folder| folder != Path::new(""))
}

/// Writes the text to standard output. A closed output is [`Stop::OutputClosed`].
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
        Err(error) => Err(Stop::failed(format_args!("cannot write to standard output: {error}"))),
    }
}

/// Writes JSON to standard output, with terminal control characters escaped.
pub(crate) fn print_json(value: &Value) -> Result<(), Stop> {
    print(&json_text(value))
}

/// Formats a value as lines of JSON. Invisible characters are escaped, including those that JSON itself allows
/// unescaped, so that the text is safe to print on a terminal.
pub(crate) fn json_text(value: &Value) -> String {
    let escape = |character: char| match character {
        character if is_invisible(character) && character != '\n' => {
            format!("\\u{:04x}", u32::from(character))
        }
        character => character.to_string(),
    };
    format!("{value:#}\n").chars().map(escape).collect()
}

/// Whether a character is not shown but controls the terminal, or changes the direction of the text that follows.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Prints a remark, which is not part of the result, to standard error.
pub(crate) fn remark(text: impl Display) {
    let text = text.to_string().replace(|character| character != '\n' && is_invisible(character), "\u{fffd}");
    // One write, so that a running command's output on the same stream doesn't split the line.
    let _ = io::stderr().write_all(format!("handover: {text}\n").as_bytes());
}

/// Returns the exit code for the outcome of a subcommand, and prints the error if it failed.
pub(crate) fn code_of(outcome: Result<(), Stop>) -> ExitCode {
    match outcome {
        Ok(()) | Err(Stop::OutputClosed) => ExitCode::SUCCESS,
        Err(Stop::Failed { code, message }) => {
            remark(format_args!("error: {message}"));
            ExitCode::from(code)
        }
        // `ExitCode` holds 8 bits; a Windows exit code has 32.
        Err(Stop::Exit(code)) => std::process::exit(code),
    }
}
