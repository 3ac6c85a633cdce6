//! The Linux half: starts, opens and reaps processes.

mod open;
mod options;
mod pdeathsig_thread;
mod read_output;
mod reaper;
mod resolve_program;
mod spawn;
mod stdio;
mod user;

pub(crate) use open::{check_rights, duplicate, open_process, share};
pub(crate) use options::{Argument, Options, write_line};
pub(crate) use read_output::read_output;
pub(crate) use reaper::leave;
#[cfg(feature = "inspect")]
pub(crate) use resolve_program::reason_of_std;
pub(crate) use spawn::{run_to_exit, spawn};
pub use user::User;
