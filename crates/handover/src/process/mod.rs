//! Processes: an identity, a builder, and what one has of a child.

mod child;
mod command;
mod identity;
mod peer;
mod spawn;
mod stdio;
mod template;

#[allow(unused_imports, reason = "only Windows starts a child in more than one way")]
pub(crate) use self::spawn::check_names;
pub use self::{child::Child, command::Command, identity::Identity, peer::Process, stdio::Stdio};
pub(crate) use self::{
    command::{Argument, Change},
    spawn::{Default, filled},
    stdio::{NAMES, Source},
};
