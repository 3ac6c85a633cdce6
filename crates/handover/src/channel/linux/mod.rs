//! Channels over Unix sockets, which carry descriptors beside the bytes.
//!
//! | file | its one idea |
//! |---|---|
//! | `link.rs` | one end: whom it leads to, and why it has ended |
//! | `send.rs`, `receive.rs` | what it does |
//! | `reader.rs` | what was read and not received yet: bytes, and which descriptors came with which of them |
//! | `opening.rs` | how the two ends come about |
//! | `door.rs` | how a client comes to a listener |
//!
//! The kernel owns what is under way: it closes what is never received, whoever goes first.

mod endpoint;
mod listener;
mod pair;
mod receive;
mod recv_buffer;
mod send;

pub(crate) use endpoint::Endpoint;
pub(crate) use listener::{Client, Door, connect};
pub(crate) use pair::{Pair, RESERVED, end_of_child};
