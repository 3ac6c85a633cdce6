//! Channels over pipes, whose stronger end duplicates in both directions.
//!
//! | file | its one idea |
//! |---|---|
//! | `ownership_page.rs` | who owns the objects that are under way (pure) |
//! | `endpoint.rs` | one endpoint: its peer, what it waits for, why it has ended |
//! | `send.rs`, `receive.rs`, `close.rs` | what it does |
//! | `pair.rs` | how the two endpoints of a channel are made |
//! | `listener.rs` | how a client connects to a listener |

mod close;
mod endpoint;
mod listener;
mod ownership_page;
mod pair;
mod receive;
mod send;

pub(crate) use endpoint::Endpoint;
pub(crate) use listener::{Client, Door, connect};
pub(crate) use pair::{Pair, RESERVED, end_of_child};
