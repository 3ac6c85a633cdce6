//! Processes: creating one from a finished plan, ending it, and what identifies it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::{null, null_mut};

use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DETACHED_PROCESS,
    DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, GetProcessId,
    GetProcessIdOfThread, GetProcessTimes, GetThreadId, InitializeProcThreadAttributeList,
    LPPROC_THREAD_ATTRIBUTE_LIST, OpenProcess, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROC_THREAD_ATTRIBUTE_PARENT_PROCESS, PROCESS_BASIC_INFORMATION,
    PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES, STARTUPINFOEXW, TerminateProcess,
    UpdateProcThreadAttribute,
};

use super::io::Owned;
use super::{Argument, Effects, Outcome, Slot, SysResult, Table, always, ask, call, handle, succeeded};
use crate::handle::{Access, HandleValue};

/// All that `CreateProcessW` is told. Texts end with NUL.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) application: Vec<u16>,
    pub(crate) command_line: Vec<u16>,
    /// `None`: a copy of ours.
    pub(crate) environment: Option<Vec<u16>>,
    /// `None`: ours.
    pub(crate) directory: Option<Vec<u16>>,
    pub(crate) creation_flags: u32,
    pub(crate) suspended: bool,
    /// The three standard streams; those that the child has must be in `inherit` too.
    pub(crate) streams: [Option<HandleValue>; 3],
    /// Exactly these inheritable handles reach the child.
    pub(crate) inherit: Vec<HandleValue>,
    /// The process in whose table they are, if it isn't ours; it becomes the child's parent.
    pub(crate) parent: Option<BorrowedHandle<'a>>,
    /// The job in which the process is from its first moment.
    pub(crate) job: Option<BorrowedHandle<'a>>,
}

/// A process that was just created, and its first thread.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) process: Owned,
    pub(crate) thread: Owned,
    pub(crate) id: u32,
}

/// The creation flag that is a type of its own.
pub(crate) const SUSPENDED: u32 = CREATE_SUSPENDED;

/// The creation flag of a process without a console.
pub(crate) const DETACHED: u32 = DETACHED_PROCESS;

/// Creates a process.
///
/// 1. Without handles to inherit there is no list: an empty one is an error, and inheritance is switched off
///    whole.
/// 2. The streams are always given, if only as NULL: without them a console program would get copies of ours.
/// 3. The attributes hold pointers into the three arrays, so these live until the process is there.
pub(crate) fn create(plan: &Plan<'_>) -> SysResult<Created> {
    let inherit: Vec<RawHandle> = plan.inherit.iter().copied().map(handle::raw).collect();
    let job: Vec<RawHandle> = plan.job.iter().map(AsRawHandle::as_raw_handle).collect();
    let parent: Vec<RawHandle> = plan.parent.iter().map(AsRawHandle::as_raw_handle).collect();
    let mut attributes = AttributeList::new([
        (PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &inherit),
        (PROC_THREAD_ATTRIBUTE_JOB_LIST, &job),
        (PROC_THREAD_ATTRIBUTE_PARENT_PROCESS, &parent),
    ])?;

    let mut startup = STARTUPINFOEXW::default();
    startup.StartupInfo.cb = super::size_of_u32::<STARTUPINFOEXW>();
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    let [input, output, error] = plan.streams.map(|stream| stream.map_or(null_mut(), handle::raw));
    startup.StartupInfo.hStdInput = input;
    startup.StartupInfo.hStdOutput = output;
    startup.StartupInfo.hStdError = error;
    startup.lpAttributeList = attributes.as_mut_ptr();

    let mut flags = plan.creation_flags | EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT;
    if plan.suspended {
        flags |= CREATE_SUSPENDED;
    }
    // The call may write into the command line.
    let mut command_line = plan.command_line.clone();
    let mut created = PROCESS_INFORMATION::default();
    let arguments = [
        ("program", Argument::Wide(&plan.application)),
        ("command line", Argument::Wide(&plan.command_line)),
        ("flags", Argument::Flags(flags)),
        ("inherits", Argument::Values(&plan.inherit)),
        ("parent", Argument::Process(plan.parent.unwrap_or(current()))),
    ];
    let arguments = &arguments[..if plan.parent.is_some() { 5 } else { 4 }];
    let told = call("CreateProcessW", arguments, || {
        // SAFETY: all texts end with NUL (the environment with two) and live through the call, the command
        // line in a buffer of our own; the startup structure has the size that it names, and its attribute
        // list and the handles that the list points to live until the end of this function; `created` is a
        // live place for the answer.
        let answer = unsafe {
            CreateProcessW(
                plan.application.as_ptr(),
                command_line.as_mut_ptr(),
                null(),
                null(),
                i32::from(!inherit.is_empty()),
                flags,
                plan.environment.as_ref().map_or(null(), |block| block.as_ptr().cast()),
                plan.directory.as_ref().map_or(null(), Vec::as_ptr),
                (&raw const startup).cast(),
                &raw mut created,
            )
        };
        succeeded(answer)?;
        let created = Created {
            // SAFETY: the call succeeded, so this is a handle made for us just now.
            process: unsafe { OwnedHandle::from_raw_handle(created.hProcess) }.into(),
            // SAFETY: likewise.
            thread: unsafe { OwnedHandle::from_raw_handle(created.hThread) }.into(),
            id: created.dwProcessId,
        };
        Ok(Reported { created, plan })
    })?;
    Ok(told.created)
}

/// What was created, and by which plan.
struct Reported<'a> {
    created: Created,
    plan: &'a Plan<'a>,
}

impl Outcome for Reported<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.created.id)
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let Self { created, plan } = self;
        created.process.effects(to)?;
        created.thread.effects(to)?;
        // Inheritance keeps the value, and takes it from the parent.
        let parent = plan.parent.map_or(Table::Own, Table::Of);
        plan.inherit.iter().try_for_each(|value| {
            let value = value.get().into();
            to.opened(Slot::new(value, Table::OfId(created.id)), Some(Slot::new(value, parent)))
        })
    }
}

/// The attributes of a process to be created. Each is an array of handles, which the list only points to.
struct AttributeList<'a> {
    // Of usize, so that it is aligned as the list wants it.
    buffer: Vec<usize>,
    handles: PhantomData<&'a [RawHandle]>,
}

impl<'a> AttributeList<'a> {
    /// A list of those attributes that have any handles.
    fn new(attributes: [(u32, &'a [RawHandle]); 3]) -> SysResult<Self> {
        const MOST: u32 = 3;
        let mut size = 0;
        // SAFETY: without a buffer the call only writes the size, and is documented to fail.
        let _ = unsafe { InitializeProcThreadAttributeList(null_mut(), MOST, 0, &raw mut size) };
        let mut buffer = vec![0_usize; size.div_ceil(size_of::<usize>())];
        call("InitializeProcThreadAttributeList", &[("most", MOST.into())], || {
            // SAFETY: the buffer has the size that the same call asked for.
            let answer = unsafe {
                InitializeProcThreadAttributeList(buffer.as_mut_ptr().cast(), MOST, 0, &raw mut size)
            };
            succeeded(answer)
        })?;
        // From here on the list is deleted whatever happens.
        let mut list = Self { buffer, handles: PhantomData };
        for (attribute, handles) in attributes {
            if !handles.is_empty() {
                list.set(attribute, handles)?;
            }
        }
        Ok(list)
    }

    fn set(&mut self, attribute: u32, handles: &'a [RawHandle]) -> SysResult<()> {
        let arguments = [("attribute", Argument::Flags(attribute)), ("handles", handles.len().into())];
        call("UpdateProcThreadAttribute", &arguments, || {
            // SAFETY: the list was initialized with room for it; the handles outlive the list by its
            // lifetime.
            let answer = unsafe {
                UpdateProcThreadAttribute(
                    self.as_mut_ptr(),
                    0,
                    attribute as usize,
                    handles.as_ptr().cast(),
                    size_of_val(handles),
                    null_mut(),
                    null_mut(),
                )
            };
            succeeded(answer)
        })
    }

    fn as_mut_ptr(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.buffer.as_mut_ptr().cast()
    }
}

impl Drop for AttributeList<'_> {
    fn drop(&mut self) {
        let _ = always("DeleteProcThreadAttributeList", &[], || {
            // SAFETY: the list was initialized, and nobody uses it any more.
            unsafe { DeleteProcThreadAttributeList(self.as_mut_ptr()) };
            Ok(())
        });
    }
}

/// Lets the first thread of a suspended process run.
pub(crate) fn resume(thread: BorrowedHandle<'_>) -> SysResult<()> {
    call("ResumeThread", &[("thread", thread.into())], || {
        // SAFETY: the handle is borrowed, so it is open.
        match unsafe { ResumeThread(thread.as_raw_handle()) } {
            u32::MAX => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    })
}

/// Ends a process with the exit code 1. Only begins it: the process is gone when a wait for it says so.
pub(crate) fn terminate(process: BorrowedHandle<'_>) -> SysResult<()> {
    call("TerminateProcess", &[("", Argument::Process(process)), ("exit code", 1_u32.into())], || {
        // SAFETY: the handle is borrowed, so it is open.
        let answer = unsafe { TerminateProcess(process.as_raw_handle(), 1) };
        succeeded(answer)
    })
}

/// The exit status of a process that has ended. A running one answers 259, which an ended one can too.
pub(crate) fn exit_status(process: BorrowedHandle<'_>) -> SysResult<Option<ExitStatus>> {
    let code = ask("GetExitCodeProcess", &[("", Argument::Process(process))], || {
        let mut code = 0;
        // SAFETY: the handle is borrowed, so it is open; `code` is a live place for the answer.
        let answer = unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) };
        succeeded(answer)?;
        Ok(code)
    })?;
    Ok(Some(ExitStatus::from_raw(code)))
}

/// When this process was created.
pub(crate) fn own_creation_time() -> SysResult<u64> {
    creation_time(current(), std::process::id())
}

/// Whether a process may be about to end: the system doesn't say.
pub(crate) fn may_be_ending(_id: u32) -> bool {
    true
}

/// Whether the system has forgotten the process. It doesn't, as long as there is a handle to it.
pub(crate) fn is_missing(_: &io::Error) -> bool {
    false
}

/// When a process was created, in units of 100 ns since 1601.
pub(crate) fn creation_time(process: BorrowedHandle<'_>, _id: u32) -> SysResult<u64> {
    ask("GetProcessTimes", &[("", Argument::Process(process))], || {
        let [mut created, mut exited, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: the handle is borrowed, so it is open; the four are live places for the answers.
        let answer = unsafe {
            GetProcessTimes(
                process.as_raw_handle(),
                &raw mut created,
                &raw mut exited,
                &raw mut kernel,
                &raw mut user,
            )
        };
        succeeded(answer)?;
        Ok(u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
    })
}

/// The id of the process that a handle refers to, if the handle carries the right to ask. The question is for
/// telling of calls, and not told of itself.
pub(crate) fn id_of(process: BorrowedHandle<'_>) -> Option<u32> {
    // SAFETY: the handle is borrowed, so it is open.
    let id = unsafe { GetProcessId(process.as_raw_handle()) };
    (id != 0).then_some(id)
}

/// The same as part of what is done, and told of.
pub(crate) fn ask_for_id(process: BorrowedHandle<'_>) -> Option<u32> {
    let asked = ask("GetProcessId", &[("handle", process.into())], || {
        id_of(process).ok_or_else(io::Error::last_os_error)
    });
    asked.ok()
}

/// The ids of a thread and of its process, if the handle carries the right to ask. For names, so not told of
/// either.
pub(crate) fn ids_of_thread(thread: BorrowedHandle<'_>) -> Option<(u32, u32)> {
    // SAFETY: the handle is borrowed, so it is open.
    let id = unsafe { GetThreadId(thread.as_raw_handle()) };
    // SAFETY: as above.
    let process = unsafe { GetProcessIdOfThread(thread.as_raw_handle()) };
    (id != 0 && process != 0).then_some((id, process))
}

/// This process, for calls that want a process.
pub(crate) fn current() -> BorrowedHandle<'static> {
    handle::current_process()
}

/// The id of the process that created this one, or that its creator named as its parent. It may have ended,
/// and the number may be another's by now.
pub(crate) fn parent_id() -> SysResult<u32> {
    ask("NtQueryInformationProcess", &[("", Argument::Process(current()))], || {
        let mut answer = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: the structure is the one of this class, with its own size.
        let status = unsafe {
            NtQueryInformationProcess(
                current().as_raw_handle(),
                ProcessBasicInformation,
                (&raw mut answer).cast(),
                super::size_of_u32::<PROCESS_BASIC_INFORMATION>(),
                null_mut(),
            )
        };
        handle::succeeded_nt(status)?;
        u32::try_from(answer.InheritedFromUniqueProcessId).map_err(io::Error::other)
    })
}

/// A process by its id, with these rights.
pub(crate) fn open(id: u32, access: Access) -> SysResult<Owned> {
    let arguments = [("", Argument::ProcessId(id)), ("access", Argument::Flags(access.bits()))];
    call("OpenProcess", &arguments, || {
        // SAFETY: the call takes numbers.
        let raw = unsafe { OpenProcess(access.bits(), 0, id) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made for us just now.
        Ok(unsafe { OwnedHandle::from_raw_handle(raw) }.into())
    })
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsHandle;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::sys::create_object;

    #[test]
    fn what_is_no_thread_is_neither_resumed_nor_known() -> io::Result<()> {
        let event = create_object::event(true)?;
        assert!(resume(event.as_handle()).is_err());
        assert_eq!(ids_of_thread(event.as_handle()), None);
        assert_eq!(ask_for_id(event.as_handle()), None);
        assert_eq!(ask_for_id(current()), Some(std::process::id()));
        Ok(())
    }

    #[test]
    fn this_process_was_created_lately() -> io::Result<()> {
        // From 1601 to 1970.
        const EPOCH: Duration = Duration::from_secs(11_644_473_600);
        let created = Duration::from_micros(own_creation_time()? / 10);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)? + EPOCH;
        let age = now.checked_sub(created).expect("it was created before now");
        assert!(age < Duration::from_secs(24 * 60 * 60), "{age:?}");
        Ok(())
    }
}
