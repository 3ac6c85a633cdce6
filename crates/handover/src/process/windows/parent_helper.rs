//! The helper of race-free spawns: a process that never runs and holds the inheritable duplicates.
//!
//! Any thread of *this* process that creates a process at the same moment, and lets it inherit all inheritable handles,
//! would pass on an inheritable handle of this process. A process that never runs has no such thread. So the duplicates
//! are created in the helper, and the child is created with the helper as its parent and inherits them from it
//! ([`PROC_THREAD_ATTRIBUTE_PARENT_PROCESS`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-updateprocthreadattribute)).

use std::io::ErrorKind::NotFound;
use std::os::windows::io::AsHandle;
use std::path::Path;
use std::sync::Arc;

use super::resolve_program;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};
use crate::sys::mutex::Mutex;
use crate::sys::pipe::null_device;
use crate::sys::process::{self as sys, Plan};
use crate::sys::text::{system_directory, wide};
use crate::sys::{SysError, SysResult};

/// The command line of a helper, by which an audit recognizes it.
pub(crate) const COMMAND_LINE: &str = "handover-helper";

/// The only helper of this process, created when it is first needed.
static HELPER: Mutex<Option<Arc<Helper>>> = Mutex::new(None);

/// The helper process, and the job that kills it when this process exits.
#[derive(Debug)]
pub(crate) struct Helper {
    process: Process,
    /// The helper's main thread. The helper is suspended before its first instruction, and is never resumed.
    _thread: Owned,
    _job: Owned,
}

impl Helper {
    /// Returns the running helper. Creates one if none exists or the last one was killed.
    pub(crate) fn get() -> Result<Arc<Self>> {
        let mut current = HELPER.lock();
        if let Some(helper) = current.as_ref() {
            if !helper.process.has_exited()? {
                return Ok(Arc::clone(helper));
            }
        }
        let helper = Arc::new(Self::create()?);
        *current = Some(Arc::clone(&helper));
        Ok(helper)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Creates the helper.
    ///
    /// 1. Creates a job. The system kills the helper with it when this process exits, crashes or is killed. The
    ///    helper's children stay outside the job; otherwise the race-free children would be killed with this process
    ///    too.
    /// 2. Creates the helper in the job, so it can't outlive this process at any moment. It inherits no handles. It is this
    ///    program, which the user has allowed to run already. If its file is no longer there, because the program was
    ///    renamed while it runs, as updaters do, the helper is `cmd.exe`.
    ///
    /// The helper gets the null device as its standard input because of Wine: Wine's server crashes if handle tables
    /// are listed while a process has an empty one. Under Wine, the stream adds one entry to the table without
    /// inheritance. Windows ignores it.
    fn create() -> Result<Self> {
        let failed = |error| Error::system("the helper process of Command::race_free", error);
        let job = job::create(Rules { kill_on_close: true, children_stay_out: true }).map_err(failed)?;
        let this_program =
            std::env::current_exe().map_err(SysError::of("GetModuleFileNameW")).map_err(failed)?;
        let null = null_device(false).map_err(failed)?;
        let mut plan = Plan {
            application: application(&this_program).map_err(failed)?,
            command_line: wide(COMMAND_LINE.as_ref()),
            environment: None,
            directory: None,
            creation_flags: sys::DETACHED,
            show_window: None,
            suspended: true,
            streams: [Some(HandleValue::of(&null)?), None, None],
            inherit: Vec::new(),
            parent: None,
            jobs: vec![job.as_handle()],
        };
        let created = match sys::create(&plan) {
            Err(error) if error.kind() == NotFound => {
                let substitute = system_directory().map_err(failed)?.join("cmd.exe");
                plan.application = application(&substitute).map_err(failed)?;
                sys::create(&plan).map_err(failed)?
            }
            created => created.map_err(failed)?,
        };
        Ok(Self { process: Process::new(created.process, created.id), _thread: created.thread, _job: job })
    }
}

fn application(program: &Path) -> SysResult<Vec<u16>> {
    Ok(wide(resolve_program::api_path(program)?.as_os_str()))
}
