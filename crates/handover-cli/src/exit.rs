//! How the program ends: what it says when it fails, and its exit codes.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use handover::Error;
use serde_json::Value;

/// For the help text.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done; for audit: nothing leaks; for run: the command's own
  1    it failed, and standard error says why; for audit: something leaks or couldn't be seen
  2    wrong usage
  3    audit: nothing leaks, but the command itself failed
  124  run, audit: the command didn't end in time and was ended
  125  run, audit: the objects couldn't be made, or the command couldn't be watched
  126  run, audit: the command is there and couldn't be started
  127  run, audit: the command isn't there";

/// The codes that aren't everybody's.
pub(crate) mod code {
    /// Something leaks; anything else that failed.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage, as the parser of the arguments has it.
    pub(crate) const USAGE: u8 = 2;
    /// An audited command failed for itself.
    pub(crate) const COMMAND_FAILED: u8 = 3;
    /// The command didn't end in time, as timeout(1) has it.
    pub(crate) const LATE: u8 = 124;
    /// These three as env(1) has them.
    pub(crate) const NOT_BEGUN: u8 = 125;
    pub(crate) const NOT_STARTED: u8 = 126;
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// Why the program stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed, with this code.
    Failed { code: u8, why: String },
    /// All was said; end so.
    With(i32),
    /// Whoever reads our output has had enough.
    NobodyReads,
}

impl Stop {
    pub(crate) fn failed(why: impl Display) -> Self {
        Self::Failed { code: code::FAILED, why: why.to_string() }
    }

    pub(crate) fn with_code(code: u8, why: impl Display) -> Self {
        Self::Failed { code, why: why.to_string() }
    }

    pub(crate) fn usage(why: impl Display) -> Self {
        Self::with_code(code::USAGE, why)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::failed(Explained(&error))
    }
}

/// An error with what the user of this program can do about it.
pub(crate) struct Explained<'a>(pub(crate) &'a Error);

impl Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::ProcessExited { pid: process, .. } => {
                write!(f, "there is no process {process}, or not any more")
            }
            Error::AccessDenied { call, object: what, right, .. } => write!(
                f,
                "{call} was refused for {what}: the right {right} is lacking; {}",
                crate::os::WHO_HAS_RIGHTS
            ),
            Error::System { call, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                let advice = if *call == crate::os::STARTING {
                    "is it a program, and may this user start it?"
                } else {
                    crate::os::WHO_HAS_RIGHTS
                };
                write!(f, "{}; {advice}", self.0)
            }
            other => other.fmt(f),
        }
    }
}

/// Writes to standard output, all of it or up to where nobody reads any more.
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::NobodyReads),
        Err(error) => Err(Stop::failed(format_args!("standard output: {error}"))),
    }
}

/// Writes JSON to standard output. What controls a terminal is written out, also where JSON itself lets it stand.
pub(crate) fn print_json(value: &Value) -> Result<(), Stop> {
    print(&json_text(value))
}

/// A value as lines of text.
pub(crate) fn json_text(value: &Value) -> String {
    let shown = |letter: char| match letter {
        letter if is_invisible(letter) && letter != '\n' => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    format!("{value:#}\n").chars().map(shown).collect()
}

/// Whether a letter moves a terminal's cursor or turns the direction of what follows instead of being seen.
pub(crate) fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Says something that isn't the result.
pub(crate) fn remark(text: impl Display) {
    // In one piece: a command that runs may write there too.
    let _ = io::stderr().write_all(format!("handover: {text}\n").as_bytes());
}

/// Ends the program as its work has ended.
pub(crate) fn end(outcome: Result<(), Stop>) -> ExitCode {
    match outcome {
        Ok(()) | Err(Stop::NobodyReads) => ExitCode::SUCCESS,
        Err(Stop::Failed { code, why }) => {
            remark(format_args!("error: {why}"));
            ExitCode::from(code)
        }
        // Windows' codes have more bits than `ExitCode` takes.
        Err(Stop::With(code)) => std::process::exit(code),
    }
}
