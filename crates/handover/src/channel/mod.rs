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

mod allowed;
#[allow(dead_code, reason = "on Linux a client needs no answer")]
pub(crate) mod answer;
mod ends;
mod listener;
pub(crate) mod message;
pub(crate) mod turn;
pub(crate) mod wire;

pub(crate) use allowed::Allowed;
pub use ends::Channel;
pub use listener::{Incoming, Listener};
pub use message::{Message, Received};
