//! Windows: what is done otherwise than elsewhere, or can be done here alone.
//!
//! | file | its one idea |
//! |---|---|
//! | `held.rs` | what every object has inside |
//! | `access.rs`, `access_of_objects.rs` | rights, and objects with fewer of them |
//! | `mutex.rs`, `single.rs` | mutexes, and one process at a time by them |
//! | `name.rs`, `user.rs` | names in the kernel, and who is let in |
//! | `push.rs` | putting a handle into a running process |
//! | `peer.rs`, `adoption.rs` | opening processes; whether a manifest is meant for this one |
//! | `command.rs`, `process/` | what a builder can say beyond others, and creating processes |
//! | `look.rs`, `right_names.rs` | other processes' handles, and the names of what they carry |
//! | `audit.rs`, `audited.rs` | following a command from process to process; what is seen of each |
//! | `channel/` | channels over pipes |

mod access;
mod access_of_objects;
mod adoption;
pub(crate) mod audit;
mod audited;
pub(crate) mod channel;
mod command;
mod held;
pub(crate) mod look;
mod mutex;
pub(crate) mod name;
mod peer;
pub(crate) mod process;
mod push;
mod right_names;
mod single;
mod user;

pub(crate) use adoption::{activated, check_is_meant_for_this_process};
pub(crate) use command::{Argument, Options};
pub(crate) use held::Held;
pub(crate) use peer::{open_process, refused_duplication};

/// What the crate shows of it.
pub(crate) mod public {
    pub use super::access::Access;
    pub use super::mutex::{LockError, Mutex, MutexGuard};
    pub use super::name::{Name, SecurityDescriptor};
    pub use super::process::Suspended;
    pub use super::push::Undelivered;
    pub use super::single::SingleInstance;
    pub use super::user::User;
}

/// Leaves a child that nobody has waited for to itself: the system forgets it with its last handle.
pub(crate) fn leave(_: &crate::Process, _was_killed: bool) {}
