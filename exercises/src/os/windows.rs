//! Windows: the parent duplicates into the child's handle table, and says the number over a pipe.

/// The calls behind the steps, by their names in the documentation.
pub mod call {
    /// Makes an event.
    pub const CREATE_EVENT: &str = "CreateEventW";
    /// Opens an event by its name.
    pub const OPEN_EVENT: &str = "OpenEventW";
    /// Sets an event.
    pub const SET_EVENT: &str = "SetEvent";
    /// Starts a child.
    pub const CREATE_PROCESS: &str = "CreateProcessW";
    /// Ends a process.
    pub const TERMINATE: &str = "TerminateProcess";
    /// Asks what a handle refers to.
    pub const ASK_FOR_KIND: &str = "NtQueryObject";
    /// Waits for an event or for a process's end.
    pub const WAIT: &str = "WaitForSingleObject";
    /// Closes a handle.
    pub const CLOSE: &str = "CloseHandle";
    /// Gives an object to a process that runs: two steps.
    pub const HAND_OVER: [&str; 2] = ["DuplicateHandle", "WriteFile"];
    /// Comes by an object that was given: likewise.
    pub const TAKE_OVER: [&str; 2] = ["ReadFile", ASK_FOR_KIND];
}

/// Giving the event to a child that runs.
pub mod duplication {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use handover::os::windows::Access;
    use handover::{Child, Command, Error, Event, HandleValue, Stdio};

    use super::call;
    use crate::{ChildOptions, Stop, Story};

    /// What the child inherits beside its standard streams.
    pub const INHERITS: &str = "nothing";

    /// Lets the child be told something once it runs: its standard input is a pipe.
    pub fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.stdin(Stdio::piped())
    }

    /// The parent's half: duplicates the event into the child and tells it the number.
    ///
    /// # Errors
    ///
    /// [`Stop::Failed`] if the duplication does, [`Stop::Channel`] if nobody reads the number.
    pub fn hand_over(story: &Story, event: &Event, child: &mut Child) -> Result<(), Stop> {
        // With the right to wait for it and no other.
        let copy = child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE))?;
        let (own, value) = (HandleValue::of(event)?, copy.value());
        let [duplicate, write] = call::HAND_OVER;
        story.step(format_args!(
            "{duplicate}({own:#x}, process {}, SYNCHRONIZE) = handle {value:#x}",
            child.id()
        ));
        // Until the child is told, the copy is ours to close.
        let told = match child.stdin.as_mut() {
            Some(pipe) => copy.write_to(pipe),
            None => return Err(Stop::Channel("the child has no pipe".into())),
        };
        told.map_err(|error| match error {
            Error::System { source, .. } => Stop::Channel(format!("the child's pipe broke: {source}")),
            other => other.into(),
        })?;
        story.step(format_args!("{write}(pipe, \"{value}\") = ok"));
        Ok(())
    }

    /// The child's half: the event will be there when the pipe says where.
    ///
    /// # Errors
    ///
    /// [`Stop::Late`] if no line came in time, [`Stop::Failed`] if the input ended before a line did, and if the line
    /// is no number of an event.
    pub fn take_over(story: &Story, options: &ChildOptions) -> Result<Event, Stop> {
        let handle = line_within(options.time_left())?;
        let [read, ask] = call::TAKE_OVER;
        story.step(format_args!("{read}(standard input) = handle {handle:#x}"));
        #[allow(unsafe_code, reason = "the step that the exercise is about: a number proves nothing")]
        // SAFETY: the parent duplicated this handle into this process and passed its value through the pipe, and nothing
        // else here owns it. With two owners, the second close may hit an unrelated handle.
        let event = unsafe { handle.adopt() }?;
        story.step(format_args!("{ask}({handle:#x}) = an event"));
        Ok(event)
    }

    /// Reads the number of a handle from standard input.
    fn line_within(time: Duration) -> Result<HandleValue, Stop> {
        let (sender, receiver) = mpsc::channel();
        // A read can't be told to end at a deadline; the thread that is stuck in one ends with the process.
        thread::spawn(move || sender.send(HandleValue::from_stdin()));
        match receiver.recv_timeout(time) {
            Ok(value) => Ok(value?),
            Err(_) => Err(Stop::Late(format!("no line came on standard input within {time:?}"))),
        }
    }
}
