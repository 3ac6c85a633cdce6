//! `ExitWatch`: sets an event when a process exits, without a thread that waits for it.

use std::fmt;
use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::io::Owned;
use super::pool_wait::{OnSignal, PoolWait};
use super::{SysResult, create_object};

/// Sets an event when a process exits.
pub(crate) struct ExitWatch<P>(PoolWait<P, Exit>);

struct Exit {
    has_come: AtomicBool,
    event: Arc<Owned>,
}

impl OnSignal for Exit {
    fn signaled(&self) {
        // The flag comes first. A thread that resets the event looks at the flag afterwards.
        self.has_come.store(true, SeqCst);
        create_object::set_event_in_callback(self.event.as_handle());
    }
}

impl<P: AsHandle + 'static> ExitWatch<P> {
    /// Begins to watch a process. `P` must keep its handle open until it is dropped.
    pub(crate) fn begin(process: P, event: Arc<Owned>) -> SysResult<Self> {
        PoolWait::begin(process, Exit { has_come: AtomicBool::new(false), event }).map(Self)
    }
}

impl<P> ExitWatch<P> {
    /// Returns whether the process has exited and the event is set, or is about to be set.
    pub(crate) fn has_exited(&self) -> bool {
        self.0.on_signal().has_come.load(SeqCst)
    }
}

impl<P> fmt::Debug for ExitWatch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitWatch").field("has_exited", &self.has_exited()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sys::create_object;
    use crate::sys::wait::{Waited, wait};

    #[test]
    fn event_is_set_at_once_if_the_process_has_exited() -> io::Result<()> {
        let mut child = std::process::Command::new("cmd").args(["/c", "exit"]).spawn()?;
        child.wait()?;
        let event = Arc::new(create_object::event(true)?);
        let watch = ExitWatch::begin(child, Arc::clone(&event))?;
        assert_eq!(wait(event.as_handle(), Some(10_000))?, Waited::Signaled);
        assert!(watch.has_exited());
        Ok(())
    }

    #[test]
    fn dropped_watch_sets_nothing() -> io::Result<()> {
        let event = Arc::new(create_object::event(true)?);
        // This process doesn't exit.
        let process =
            std::process::Command::new("cmd").arg("/k").stdin(std::process::Stdio::piped()).spawn()?;
        let watch = ExitWatch::begin(process, Arc::clone(&event))?;
        assert!(!watch.has_exited());
        drop(watch);
        assert_eq!(Arc::strong_count(&event), 1, "nothing uses the event any more");
        Ok(())
    }
}
