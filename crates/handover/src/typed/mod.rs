//! Typed messages: values of the program's own types, with objects inside.
//!
//! | file | contents |
//! |---|---|
//! | `carried.rs` | `Carried`: an object inside a value |
//! | `bounded.rs` | a deserializer for untrusted bytes |
//! | `scope.rs` | the objects of the message that a thread is encoding or decoding |
//! | `value.rs` | messages of values, and values of messages |
//! | `channel.rs` | `TypedChannel` |
//!
//! serde's traits know nothing of objects. So while a thread encodes a value, its [`scope`] collects the objects that it comes
//! across, and the bytes get the index of each one. While a thread decodes a message, its scope has the objects, and each index
//! takes one of them. The objects travel under their indexes as names, so the format of messages stays the same.

mod bounded;
mod carried;
mod channel;
mod scope;
mod value;

pub use carried::{Carried, Carry};
pub use channel::{TypedChannel, TypedReply};
