//! Channels over pipes, whose stronger endpoint duplicates in both directions.
//!
//! | file | contents |
//! |---|---|
//! | `ownership_page.rs` | the owner of each object in transit (pure) |
//! | `endpoint.rs` | one endpoint: its peer process, its waits, and the reason why it was closed |
//! | `send.rs`, `receive.rs`, `close.rs` | sending, receiving and closing |
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
pub(crate) use listener::{Client, ListenerPipe as SystemListener, connect};
pub(crate) use pair::{Pair, RESERVED, endpoint_of_child};
pub(crate) use receive::Untaken as Lost;
