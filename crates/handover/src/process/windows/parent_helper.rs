//! The dormant helper: a process that never runs, in whose table inheritable handles are out of reach.
//!
//! An inheritable handle in *this* process can be caught by any thread that creates a process with
//! inheritance of all at the same moment. In a process that never runs there is no such thread. So the
//! duplicates are planted there, and the child is created with the helper named as its parent, from which it
//! inherits them
//! ([`PROC_THREAD_ATTRIBUTE_PARENT_PROCESS`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-updateprocthreadattribute)).

use std::os::windows::io::AsHandle;
use std::sync::{Arc, Mutex, PoisonError};

use super::resolve_program;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::Process;
use crate::sys::SysError;
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};
use crate::sys::pipe::null_device;
use crate::sys::process::{self as sys, Plan};
use crate::sys::text::wide;

/// One for the whole process, made when it is first needed.
static HELPER: Mutex<Option<Arc<Helper>>> = Mutex::new(None);

/// The helper, and the job that ends it when this process ends.
#[derive(Debug)]
pub(crate) struct Helper {
    process: Process,
    /// Never resumed: the helper is this program, suspended before its first instruction.
    _thread: Owned,
    _job: Owned,
}

impl Helper {
    /// The helper that there is, or a new one if there is none or somebody has ended it.
    pub(crate) fn get() -> Result<Arc<Self>> {
        // The place is only ever assigned to whole, so a panic elsewhere leaves nothing half made.
        let mut place = HELPER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(helper) = place.as_ref() {
            if !helper.process.has_exited()? {
                return Ok(Arc::clone(helper));
            }
        }
        let helper = Arc::new(Self::create()?);
        *place = Some(Arc::clone(&helper));
        Ok(helper)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// 1. A job that ends the helper when this process ends, however it ends. Children of the helper stay out
    ///    of it, or race-free children would end with this process too.
    /// 2. The helper, in the job from its first moment: there is none in which it could be left behind. It
    ///    inherits nothing. Wine's server crashes when somebody looks at handle tables and one is empty;
    ///    there, the null device as a stream is enough to have one entry without inheritance, and Windows
    ///    passes over it.
    fn create() -> Result<Self> {
        let failed = |error| Error::system("the helper of race-free spawns", error);
        let job = job::create(Rules { kill_on_close: true, children_stay_out: true }).map_err(failed)?;
        let program = std::env::current_exe()
            .map_err(SysError::of("GetModuleFileNameW"))
            .and_then(|program| resolve_program::for_the_call(&program))
            .map_err(failed)?;
        let null = null_device(false).map_err(failed)?;
        let plan = Plan {
            application: wide(program.as_os_str()),
            command_line: wide("handover-helper".as_ref()),
            environment: None,
            directory: None,
            creation_flags: sys::DETACHED,
            suspended: true,
            streams: [Some(HandleValue::of(&null)?), None, None],
            inherit: Vec::new(),
            parent: None,
            job: Some(job.as_handle()),
        };
        let created = sys::create(&plan).map_err(failed)?;
        Ok(Self { process: Process::new(created.process, created.id), _thread: created.thread, _job: job })
    }
}
