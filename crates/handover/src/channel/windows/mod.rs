//! Channels over pipes, whose stronger endpoint duplicates in both directions.
//!
//! | file | contents |
//! |---|---|
//! | `ownership_page.rs` | the owner of each object in transit (pure) |
//! | `peer.rs` | the process at the other endpoint, which can change |
//! | `outbox.rs` | the weaker endpoint's duplicates until they are fetched |
//! | `endpoint.rs` | one endpoint: its peer process, its waits, and the reason why it was closed |
//! | `send.rs`, `receive.rs`, `close.rs` | sending, receiving and closing |
//! | `tasks.rs` | sending and receiving by tasks of asynchronous programs |
//! | `pair.rs` | how the two endpoints of a channel are made |
//! | `travel.rs` | how an endpoint leaves this process, and how it arrives in another one |
//! | `introduce.rs` | introductions that give one process power over the other |
//! | `listener.rs` | how a client connects to a listener |

mod close;
mod endpoint;
mod introduce;
mod listener;
mod outbox;
mod ownership_page;
mod pair;
mod peer;
mod receive;
mod send;
#[cfg(feature = "_async")]
mod tasks;
mod travel;

pub(crate) use self::pair::{Pair, RESERVED, endpoint_of_child};
pub(crate) use endpoint::Endpoint;
pub(in crate::channel) use endpoint::Receiving;
#[cfg(feature = "_async")]
pub(in crate::channel) use endpoint::Writer;
pub use introduce::{introduce_stronger, introduce_stronger_timeout};
#[cfg(feature = "_async")]
pub(crate) use listener::{AcceptStep, Accepting, ConnectStep, Connecting};
pub(crate) use listener::{Client, ListenerPipe as SystemListener, connect};
pub(crate) use peer::Peer as Carrier;
pub(crate) use receive::Untaken as Lost;
#[cfg(feature = "_async")]
pub(crate) use send::Progress;
#[cfg(feature = "_async")]
pub(crate) use tasks::{Sent, Waits};
pub(crate) use travel::{ENDPOINT_NAMES, HANDLES, arrive, arrive_inherited, introduced, pair};
