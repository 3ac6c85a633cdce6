//! Starts processes (`Command`) and refers to them (`Child`, `Process`).
//!
//! Each system's half provides:
//!
//! - `spawn`, which starts a child, and `leave`, which is called for a child that is dropped before it was waited for;
//! - `Options` and `Argument`, the parts of a `Command` that only this system has;
//! - `open_process`, which opens a process by its id;
//! - `User`.

pub(crate) mod child;
mod command;
#[allow(dead_code, reason = "only Windows starts a child with a command line")]
pub(crate) mod command_line;
#[allow(dead_code, reason = "only Windows starts a child with an environment block")]
pub(crate) mod env_block;
mod hook;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
pub(crate) mod placeholder;
#[allow(clippy::module_inception, reason = "the type that the folder is named after")]
mod process;
mod spawn;
mod stdio;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux as imp;
#[cfg(windows)]
pub(crate) use windows as imp;

pub(crate) use hook::{Attachment, OpenAttachment};
pub use imp::User;
#[cfg(windows)]
pub use windows::{CommandExt, SuspendedChild};

#[allow(unused_imports, reason = "only Windows starts a child in more than one way")]
pub(crate) use self::spawn::check_names;
#[cfg(target_os = "linux")]
pub(crate) use self::spawn::{check_name, listed_twice};
pub use self::{child::Child, command::Command, process::Process, stdio::Stdio};
pub(crate) use self::{
    command::{Argument, Change},
    spawn::{Default, filled},
    stdio::{NAMES, Source},
};
