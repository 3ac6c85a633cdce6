//! Children in a role, with a channel to this process.

use std::time::Duration;

use handover::{Channel, Child, Command, Stdio};

use crate::{role, this_program};

/// Starts this program in a role, with a channel and empty standard input. Dropping the child kills it.
///
/// # Panics
///
/// Panics if it can't be started.
#[must_use]
pub fn linked_in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null());
    let mut child = command.kill_on_drop(true).channel().spawn().expect("the role starts");
    let channel = child.take_channel().expect("the command has a channel");
    (child, channel)
}

/// Closes the channel, and asserts that the child then exits with 0.
///
/// # Panics
///
/// Panics if it doesn't.
pub fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    let status = child.wait_timeout(Duration::from_secs(10)).expect("the child exits");
    assert_eq!(status.code(), Some(0));
}
