//! The Windows half: creates and opens processes, and owns handles in their tables until these are passed on.

mod child;
mod duplicate_target;
mod kill_on_close_job;
mod listed_objects;
mod open;
mod options;
pub(crate) mod parent_helper;
mod read_output;
mod remote_copy;
mod resolve_program;
mod socket_records;
mod spawn;
mod stdio;
mod suspended_child;
mod user;

pub(crate) use open::{check_rights, duplicate, open_process, share};
pub use options::CommandExt;
pub(crate) use options::{Argument, Options, write_line};
pub(crate) use read_output::read_output;
pub(crate) use remote_copy::RemoteCopy;
#[cfg(feature = "inspect")]
pub(crate) use resolve_program::reason_of_std;
pub(crate) use spawn::{run_to_exit, spawn};
pub use suspended_child::SuspendedChild;
pub use user::User;

/// Does nothing for a child that is dropped before it was waited for: Windows frees it with its last handle.
pub(crate) fn leave(_: &super::Process, _was_killed: bool) {}
