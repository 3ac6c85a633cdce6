//! How a program ends.

use std::fmt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use handover::{Child, Error, Event, HandleValue};

use crate::call::{CLOSE, TERMINATE, WAIT};
use crate::{ChildOptions, ParentOptions, Story};

/// Why a program stops before it is done.
#[derive(Debug)]
pub enum Stop {
    /// A call failed.
    Failed(Error),
    /// The child ended otherwise than it should.
    Child {
        /// The child's id.
        id: u32,
        /// How it ended.
        status: ExitStatus,
        /// What the parent was about to do.
        before: &'static str,
    },
    /// The channel over which the child is told of the handle failed.
    Channel(String),
    /// The child's program has no path.
    NoProgram(String),
    /// A deadline passed.
    Late(String),
}

/// The exit code of a program whose deadline passed.
const LATE: u8 = 3;

impl Stop {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(Error::TimedOut { .. }) | Self::Late(_) => LATE,
            // A name can turn out to be too long only where it is used.
            Self::Failed(Error::InvalidHandleValue { .. } | Error::InvalidInput { .. }) => 2,
            Self::Failed(_) | Self::Child { .. } | Self::Channel(_) | Self::NoProgram(_) => 1,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Child { id, status, before } => write!(f, "child {id} ended with {status} before {before}"),
            Self::Channel(text) | Self::NoProgram(text) | Self::Late(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs a program's steps and ends it as they end.
pub fn end_of(story: &Story, steps: impl FnOnce(&Story) -> Result<(), Stop>) -> ExitCode {
    match steps(story) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            story.complain(&stop);
            ExitCode::from(stop.exit_code())
        }
    }
}

impl Story {
    /// Lets the child run for a while, in which it should not end.
    ///
    /// # Errors
    ///
    /// [`Stop::Child`] as soon as it does.
    pub fn leave_waiting(&self, child: &mut Child, time: Duration, before: &'static str) -> Result<(), Stop> {
        match child.wait_timeout(time) {
            Err(Error::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(status) => Err(Stop::Child { id: child.id(), status, before }),
        }
    }

    /// What both children do once they have the event: wait for it, and close it.
    ///
    /// # Errors
    ///
    /// [`Stop::Failed`] if it isn't signaled in time.
    pub fn wait_for_signal(&self, event: Event, options: &ChildOptions) -> Result<(), Stop> {
        let (value, time) = (HandleValue::of(&event)?, options.time_left());
        match event.wait_timeout(time) {
            Ok(()) => self.step(format_args!("{WAIT}({value:#x}, {time:.1?}) = signaled")),
            Err(error) => {
                self.step(format_args!("{WAIT}({value:#x}, {time:.1?}) = not signaled"));
                return Err(error.into());
            }
        }
        drop(event);
        self.step(format_args!("{CLOSE}({value:#x}) = ok"));
        Ok(())
    }

    /// Waits for the child's end, and kills it at the deadline.
    ///
    /// # Errors
    ///
    /// [`Stop::Child`] if it didn't end well; [`Stop::Late`] if it didn't end, or if it says by its exit code that its
    /// deadline has passed, which without a signal it must.
    pub fn wait_for_end(&self, child: &mut Child, options: &ParentOptions) -> Result<(), Stop> {
        let (id, time) = (child.id(), options.deadline());
        let status = match child.wait_timeout(time) {
            Ok(status) => status,
            Err(Error::TimedOut { .. }) => {
                self.step(format_args!("{WAIT}(process {id}, {time:?}) = timeout"));
                child.kill()?;
                child.wait_timeout(Duration::from_secs(5))?;
                self.step(format_args!("{TERMINATE}(process {id}) = ended"));
                return Err(Stop::Late(format!("child {id} did not end within {time:?} and was killed")));
            }
            Err(error) => return Err(error.into()),
        };
        self.step(format_args!("{WAIT}(process {id}, {time:?}) = ended, {status}"));
        if status.success() {
            return Ok(());
        }
        if !options.signals() && status.code() == Some(LATE.into()) {
            return Err(Stop::Late(format!("child {id} waited until its deadline, because nobody signaled")));
        }
        Err(Stop::Child { id, status, before: "it had done its part" })
    }
}
