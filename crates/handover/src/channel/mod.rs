//! Messages that carry objects between processes.
//!
//! | file | contents |
//! |---|---|
//! | `channel.rs` | `Channel`: an endpoint, as a program uses it |
//! | `message.rs` | messages to send, and received messages |
//! | `introduce.rs` | how a process connects two others |
//! | `travel.rs` | endpoints that travel: in a message, or with a child |
//! | `traveller.rs` | an endpoint that a message moves |
//! | `listener.rs` | how unrelated processes open a channel by a name |
//! | `wire.rs` | how a message is encoded in bytes (pure) |
//! | `handshake.rs` | a Windows listener's answer to a client (pure) |
//! | `calls.rs` | calls that wait for replies, and messages that arrive meanwhile |
//! | `tasks.rs` | the tasks of asynchronous programs that wait at an endpoint |
//! | `limits.rs` | how much a peer may send |
//! | `kind_filter.rs` | the kinds of objects that an endpoint accepts |
//! | `shortage.rs` | how a listener waits for a free handle or memory |
//! | `timed_mutex.rs` | a mutex with a deadline |
//!
//! Each system's half, in `linux` and `windows`, provides:
//!
//! - `Endpoint`, which sends, receives and flushes, for threads and for tasks,
//! - `pair`, `HANDLES`, `ENDPOINT_NAMES`, `arrive` and `arrive_inherited`, which create two endpoints and open one that has
//!   travelled, and of an endpoint `handles`, `depart`, `departed_to` and `stay`, by which it leaves,
//! - `Pair`, `RESERVED` and `endpoint_of_child`, which create a channel to a child and open its endpoint,
//! - `SystemListener`, `Client` and `connect`, which open a channel by a name.

pub(crate) mod calls;
#[allow(clippy::module_inception, reason = "the folder is named after this type")]
mod channel;
#[allow(dead_code, reason = "used on Windows only, but tested on Linux too")]
pub(crate) mod handshake;
mod introduce;
mod kind_filter;
mod limits;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
mod listener;
pub(crate) mod message;
mod shortage;
#[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
pub(crate) mod tasks;
pub(crate) mod timed_mutex;
mod travel;
pub(crate) mod traveller;
#[cfg(windows)]
pub(crate) mod windows;
pub(crate) mod wire;

#[cfg(target_os = "linux")]
pub(crate) use linux as imp;
#[cfg(windows)]
pub(crate) use windows as imp;

pub use channel::Channel;
pub use introduce::{introduce, introduce_timeout};
pub(crate) use kind_filter::KindFilter;
pub use limits::Limits;
#[cfg(target_os = "linux")]
pub use linux::ChannelExt;
#[cfg(feature = "_async")]
pub(crate) use listener::check as check_name;
pub use listener::{Incoming, Listener};
pub use message::{Message, ReceivedMessage};
#[cfg(feature = "_async")]
pub(crate) use travel::not_sent;
#[cfg(windows)]
pub use windows::{introduce_stronger, introduce_stronger_timeout};
