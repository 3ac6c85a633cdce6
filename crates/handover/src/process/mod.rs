//! std's module [`std::process`], by name: replace `std::process` by `handover::process`, and a program's children inherit only
//! the objects that are listed for them.
//!
//! ```no_run
//! use handover::process::{Command, ExitCode, Stdio};
//!
//! struct Job {
//!     command: Command,
//! }
//!
//! fn main() -> ExitCode {
//!     let mut job = Job { command: Command::new("worker") };
//!     let output = job.command.stdin(Stdio::null()).output().expect("the worker runs");
//!     if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
//! }
//! ```
//!
//! [`Command`] is [`handover::Command<'static>`](crate::Command): it borrows nothing, so it can be stored and returned as std's
//! can. A local object is listed by [`inherit_owned`](crate::Command::inherit_owned), which takes it. The differences from
//! std are listed [there](crate::Command#differences-from-stds-command).

// The folder is also where children are started. Each system's half provides:
//
// - `spawn`, which starts a child, and `leave`, which is called for a child that is dropped before it was waited for;
// - `write_line`, which prints a command as std's does on this system;
// - `Options` and `Argument`, the parts of a `Command` that only this system has;
// - `open_process`, which opens a process by its id;
// - `User`.

pub(crate) mod child;
pub(crate) mod command;
#[allow(dead_code, reason = "only Windows starts a child with a command line")]
pub(crate) mod command_line;
#[allow(dead_code, reason = "only Windows starts a child with an environment block")]
pub(crate) mod env_block;
mod getters;
mod hook;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
pub(crate) mod placeholder;
#[allow(clippy::module_inception, reason = "the type that the folder is named after")]
pub(crate) mod process;
mod spawn;
mod stdio;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux as imp;
#[cfg(windows)]
pub(crate) use windows as imp;

pub(crate) use hook::{Attachment, OpenAttachment};
pub(crate) use imp::User;

pub(crate) use self::process::Process;
#[allow(unused_imports, reason = "only Windows starts a child in more than one way")]
pub(crate) use self::spawn::check_names;
#[cfg(target_os = "linux")]
pub(crate) use self::spawn::{check_name, listed_twice};
pub use self::{
    child::Child,
    getters::{CommandArgs, CommandEnvs},
    stdio::Stdio,
};
/// std's own types and functions.
#[doc(no_inline)]
pub use std::process::{
    ChildStderr, ChildStdin, ChildStdout, ExitCode, ExitStatus, Output, Termination, abort, exit, id,
};

/// A [`Command`](crate::Command) that borrows nothing, as std's doesn't.
pub type Command = command::Command<'static>;

pub(crate) use self::{
    command::{Argument, Change},
    spawn::{Default, filled},
    stdio::{NAMES, Source},
};
