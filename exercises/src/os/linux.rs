//! Linux: the parent sends the child a message that carries the descriptor, and the kernel puts it into the child's
//! table.

/// The calls behind the steps, by their names in the manual.
pub mod call {
    /// Makes an event.
    pub const CREATE_EVENT: &str = "eventfd";
    /// Opens an event by its name: the process that has made it answers.
    pub const OPEN_EVENT: &str = "connect";
    /// Sets an event.
    pub const SET_EVENT: &str = "write";
    /// Starts a child: two calls, which say nothing of one another.
    pub const CREATE_PROCESS: &str = "clone+execve";
    /// Ends a process.
    pub const TERMINATE: &str = "pidfd_send_signal";
    /// Asks what a descriptor refers to.
    pub const ASK_FOR_KIND: &str = "fstat";
    /// Waits for an event or for a process's end.
    pub const WAIT: &str = "ppoll";
    /// Closes a descriptor.
    pub const CLOSE: &str = "close";
    /// Gives an object to a process that runs.
    pub const HAND_OVER: [&str; 1] = ["sendmsg"];
    /// Comes by an object that was given: two steps.
    pub const TAKE_OVER: [&str; 2] = ["recvmsg", ASK_FOR_KIND];
}

/// Giving the event to a child that runs.
pub mod duplication {
    use handover::{Channel, Child, Command, Event, HandleValue, Message};

    use super::call;
    use crate::{ChildOptions, Stop, Story};

    /// What the child inherits beside its standard streams.
    pub const INHERITS: &str = "a socket";
    /// The event's name in the message.
    const EVENT: &str = "event";

    /// Lets the child be sent something once it runs: it inherits one end of a channel.
    pub fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.channel()
    }

    /// The parent's half: sends the event.
    ///
    /// # Errors
    ///
    /// [`Stop::Failed`] if nobody can receive it.
    pub fn hand_over(story: &Story, event: &Event, child: &mut Child) -> Result<(), Stop> {
        let Some(channel) = child.take_channel() else {
            return Err(Stop::Channel("the child has no channel".into()));
        };
        channel.send(Message::default().with(EVENT, event))?;
        let [send] = call::HAND_OVER;
        story.step(format_args!("{send}(socket, {:#x}) = ok", HandleValue::of(event)?));
        Ok(())
    }

    /// The child's half: the event comes in a message.
    ///
    /// # Errors
    ///
    /// [`Stop::Failed`] if no message came in time, or if it has no event.
    pub fn take_over(story: &Story, options: &ChildOptions) -> Result<Event, Stop> {
        let event: Event = Channel::parent()?.recv_timeout(options.time_left())?.take(EVENT)?;
        let handle = HandleValue::of(&event)?;
        let [receive, ask] = call::TAKE_OVER;
        story.step(format_args!("{receive}(socket) = handle {handle:#x}"));
        story.step(format_args!("{ask}({handle:#x}) = an event"));
        Ok(event)
    }
}
