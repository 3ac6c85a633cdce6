//! Channels over Unix sockets, which carry descriptors beside the bytes.
//!
//! | file | contents |
//! |---|---|
//! | `endpoint.rs` | one endpoint: its peer process, and the reason why it was closed |
//! | `send.rs`, `receive.rs` | sending and receiving |
//! | `tasks.rs` | the same for tasks of asynchronous programs |
//! | `recv_buffer.rs` | bytes that were read and not received yet, and the descriptors that arrived with them |
//! | `pair.rs` | how the two endpoints of a channel are made |
//! | `peers.rs` | the processes at the other endpoints |
//! | `travel.rs` | how an endpoint leaves this process, and how the process that has it gets known |
//! | `listener.rs` | how a client connects to a listener |
//!
//! The kernel owns the objects in transit. It closes those that are never received, whichever endpoint is closed first.

mod endpoint;
mod listener;
mod pair;
mod peers;
mod readiness;
mod receive;
mod recv_buffer;
mod send;
#[cfg(feature = "_async")]
mod tasks;
mod travel;

pub(crate) use crate::process::Process as Carrier;
pub(crate) use endpoint::Endpoint;
pub(in crate::channel) use endpoint::Receiving;
#[cfg(feature = "_async")]
pub(in crate::channel) use endpoint::Writer;
pub(crate) use listener::{Client, ListenerSocket as SystemListener, connect};
#[cfg(feature = "_async")]
pub(crate) use listener::{ConnectStep, Connecting, QUEUE_PAUSE};
pub(crate) use pair::{Pair, RESERVED};
#[cfg(feature = "_async")]
pub(crate) use readiness::Found;
pub(crate) use recv_buffer::Lost;
#[cfg(feature = "_async")]
pub(crate) use send::Progress;
#[cfg(feature = "_async")]
pub(crate) use tasks::{Sent, Wait};
pub use travel::ChannelExt;
pub(crate) use travel::{
    ENDPOINT_NAMES, HANDLES, arrive, arrive_inherited, endpoint_of_child, introduced, pair, with_unknown_peer,
};
