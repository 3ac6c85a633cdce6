//! Channels over pipes, whose stronger end duplicates in both directions.
//!
//! | file | its one idea |
//! |---|---|
//! | `ledger.rs` | who owns the objects that are under way (pure) |
//! | `link.rs` | one end: whom it leads to, what it waits for, why it has ended |
//! | `send.rs`, `receive.rs`, `close.rs` | what it does |
//! | `opening.rs` | how the two ends come about |
//! | `door.rs` | how a client comes to a listener |

mod close;
mod door;
mod ledger;
mod link;
mod opening;
mod receive;
mod send;

pub(crate) use door::{Client, Door, connect};
pub(crate) use link::Link;
pub(crate) use opening::{Opening, RESERVED, end_of_child};
