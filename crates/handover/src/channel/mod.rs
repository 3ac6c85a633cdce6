//! Messages that carry objects: what is the same on all systems.
//!
//! | file | its one idea |
//! |---|---|
//! | `ends.rs` | a channel as a program has it |
//! | `message.rs` | what is sent and what has arrived |
//! | `listener.rs` | how unrelated processes meet |
//! | `wire.rs` | how a message stands in bytes (pure) |
//! | `answer.rs` | what a client is told at a listener's door on Windows (pure) |
//! | `allowed.rs` | what an end lets in |
//! | `turn.rs` | a mutex with a deadline |
//!
//! How a message goes from one process to another is in `os`, in `channel`.

#[allow(clippy::module_inception, reason = "the type that the folder is named after")]
mod channel;
#[allow(dead_code, reason = "on Linux a client needs no answer")]
pub(crate) mod handshake;
mod kind_filter;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
mod listener;
pub(crate) mod message;
pub(crate) mod timed_mutex;
#[cfg(windows)]
pub(crate) mod windows;
pub(crate) mod wire;

#[cfg(target_os = "linux")]
pub(crate) use linux as imp;
#[cfg(windows)]
pub(crate) use windows as imp;

pub use channel::Channel;
pub(crate) use kind_filter::KindFilter;
pub use listener::{Incoming, Listener};
pub use message::{Message, ReceivedMessage};
