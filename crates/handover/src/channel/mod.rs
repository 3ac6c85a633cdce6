//! Messages that carry objects.
//!
//! | file | its one idea |
//! |---|---|
//! | `wire.rs` | how a message stands in bytes (pure) |
//! | `ledger.rs` | who owns the objects that are under way (pure) |
//! | `message.rs` | what is sent and what has arrived |
//! | `link.rs` | one end: whom it leads to, what it waits for, why it has ended |
//! | `send.rs`, `receive.rs`, `close.rs` | what it does |
//! | `turn.rs` | a mutex with a deadline |
//! | `opening.rs` | how the two ends come about |
//! | `listener.rs` | how unrelated processes meet |

#[cfg(windows)]
mod close;
mod ledger;
#[cfg(windows)]
mod link;
#[cfg(windows)]
mod listener;
#[cfg(windows)]
mod message;
#[cfg(windows)]
mod opening;
#[cfg(windows)]
mod receive;
#[cfg(windows)]
mod send;
#[cfg(windows)]
mod turn;
mod wire;

#[cfg(windows)]
mod ends;

#[cfg(windows)]
pub use ends::Channel;
#[cfg(windows)]
pub use listener::{Incoming, Listener};
#[cfg(windows)]
pub use message::{Message, Received};
#[cfg(windows)]
pub(crate) use {ends::RESERVED, opening::Opening};
