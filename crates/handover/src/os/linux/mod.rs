//! Linux: what is done otherwise than elsewhere, or can be done here alone.
//!
//! | file | its one idea |
//! |---|---|
//! | `held.rs` | what every object has inside |
//! | `place.rs` | a name that one process has at a time: a lock, and the path of a socket |
//! | `name.rs`, `serving.rs` | names of objects, which the process serves that has created them |
//! | `single.rs`, `user.rs` | one process at a time; users |
//! | `peer.rs`, `adoption.rs` | opening processes; what was handed down, and for whom |
//! | `command.rs`, `process/` | what a builder can say beyond others, and starting processes |
//! | `look.rs` | other processes' descriptors |
//! | `received.rs` | std's sockets as objects |
//! | `audit.rs`, `audited.rs` | following a command from exec to exec; what is seen at each |
//! | `channel/` | channels over Unix sockets |

mod adoption;
pub(crate) mod audit;
mod audited;
pub(crate) mod channel;
mod command;
mod held;
pub(crate) mod look;
pub(crate) mod name;
mod peer;
mod place;
pub(crate) mod process;
mod received;
mod serving;
mod single;
mod user;

pub(crate) use adoption::{activated, check_is_meant_for_this_process};
pub(crate) use command::{Argument, Options};
pub(crate) use held::Held;
pub(crate) use peer::{open_process, refused_duplication};
pub(crate) use process::leave;

/// What the crate shows of it.
pub(crate) mod public {
    pub use super::name::Name;
    pub use super::single::SingleInstance;
    pub use super::user::User;
}
