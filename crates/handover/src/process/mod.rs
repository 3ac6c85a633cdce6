//! Processes: an identity, a builder, and what one has of a child.

mod child;
mod command;
#[allow(dead_code, reason = "only Windows starts a child with a block of units")]
pub(crate) mod environment;
mod identity;
mod peer;
#[allow(dead_code, reason = "only Windows starts a child with a command line")]
pub(crate) mod quote;
mod spawn;
mod stdio;
pub(crate) mod template;

#[allow(unused_imports, reason = "only Windows starts a child in more than one way")]
pub(crate) use self::spawn::check_names;
pub use self::{child::Child, command::Command, identity::Identity, peer::Process, stdio::Stdio};
pub(crate) use self::{
    command::{Argument, Change},
    spawn::{Default, filled},
    stdio::{NAMES, Source},
};
