//! Processes: creating, terminating, exit status, and identity.

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
    PROCESS_INFORMATION, ResumeThread, STARTF_USESHOWWINDOW, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    TerminateProcess, UpdateProcThreadAttribute,
};

use super::io::Owned;
use super::{Argument, Effects, Outcome, Slot, SysResult, Table, always, ask, call, handle, succeeded};
use crate::handle::{Access, HandleValue};

/// The arguments for `CreateProcessW`. All texts end with NUL.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) application: Vec<u16>,
    pub(crate) command_line: Vec<u16>,
    /// The environment block; `None` stands for a copy of this process's.
    pub(crate) environment: Option<Vec<u16>>,
    /// The working directory; `None` stands for this process's.
    pub(crate) directory: Option<Vec<u16>>,
    pub(crate) creation_flags: u32,
    /// How the child shows its first window, if it is told.
    pub(crate) show_window: Option<u16>,
    pub(crate) suspended: bool,
    /// The three standard streams. The handles of inherited ones must also be in `inherit`.
    pub(crate) streams: [Option<HandleValue>; 3],
    /// The inheritable handles that the child gets, and no others.
    pub(crate) inherit: Vec<HandleValue>,
    /// The process that owns these handles, if it isn't this one. It becomes the child's parent.
    pub(crate) parent: Option<BorrowedHandle<'a>>,
    /// The jobs that the process belongs to from its creation on, each nested in the one before.
    pub(crate) jobs: Vec<BorrowedHandle<'a>>,
}

/// A process that was just created, and its main thread.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) process: Owned,
    pub(crate) thread: Owned,
    pub(crate) id: u32,
}

/// The creation flag for a suspended process, for which upper layers have a type of its own.
pub(crate) const SUSPENDED: u32 = CREATE_SUSPENDED;

/// The creation flag for a process without a console.
pub(crate) const DETACHED: u32 = DETACHED_PROCESS;

/// Creates a process.
///
/// 1. With no handle to inherit, the handle list is left out, because an empty list is an error, and
///    `bInheritHandles` is false.
/// 2. The standard streams are always set, if only to NULL. Otherwise a console program would get copies of this
///    process's streams.
/// 3. The attribute list points into the three arrays, so they must live until the process has been created.
pub(crate) fn create(plan: &Plan<'_>) -> SysResult<Created> {
    let inherit: Vec<RawHandle> = plan.inherit.iter().copied().map(handle::raw).collect();
    let jobs: Vec<RawHandle> = plan.jobs.iter().map(AsRawHandle::as_raw_handle).collect();
    let parent: Vec<RawHandle> = plan.parent.iter().map(AsRawHandle::as_raw_handle).collect();
    let mut attributes = AttributeList::new([
        (PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &inherit),
        (PROC_THREAD_ATTRIBUTE_JOB_LIST, &jobs),
        (PROC_THREAD_ATTRIBUTE_PARENT_PROCESS, &parent),
    ])?;

    let mut startup = STARTUPINFOEXW::default();
    startup.StartupInfo.cb = super::size_of_u32::<STARTUPINFOEXW>();
    // As std does, a process without any stream leaves it to the system what its child has.
    if plan.streams.iter().any(Option::is_some) {
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    }
    if let Some(show) = plan.show_window {
        startup.StartupInfo.dwFlags |= STARTF_USESHOWWINDOW;
        startup.StartupInfo.wShowWindow = show;
    }
    let [input, output, error] = plan.streams.map(|stream| stream.map_or(null_mut(), handle::raw));
    startup.StartupInfo.hStdInput = input;
    startup.StartupInfo.hStdOutput = output;
    startup.StartupInfo.hStdError = error;
    startup.lpAttributeList = attributes.as_mut_ptr();

    let mut flags = plan.creation_flags | EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT;
    if plan.suspended {
        flags |= CREATE_SUSPENDED;
    }
    // `CreateProcessW` may write to the command line.
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
    let reported = call("CreateProcessW", arguments, || {
        // SAFETY: the application, the command line and the directory end with NUL, and the environment block with two;
        // all live during the call. The command line is in a mutable buffer of its own. The startup structure has the
        // size in `cb`; its attribute list, and the handles to which the list points, live until the end of this
        // function. `created` is a live variable for the answer.
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
            // SAFETY: the successful call has just opened this handle for this process, and `created` is its only
            // copy, so no other owner exists.
            process: unsafe { OwnedHandle::from_raw_handle(created.hProcess) }.into(),
            // SAFETY: the successful call has just opened this handle for this process, and `created` is its only
            // copy, so no other owner exists.
            thread: unsafe { OwnedHandle::from_raw_handle(created.hThread) }.into(),
            id: created.dwProcessId,
        };
        Ok(Reported { created, plan })
    })?;
    Ok(reported.created)
}

/// The event's view of a new process: the process, and the plan with its inherited handles.
struct Reported<'a> {
    created: Created,
    plan: &'a Plan<'a>,
}

impl Outcome for Reported<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.created.id)
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let Self { created, plan } = self;
        created.process.effects(to)?;
        created.thread.effects(to)?;
        // An inherited handle has the same value in the child as in the parent.
        let parent = plan.parent.map_or(Table::Own, Table::Of);
        plan.inherit.iter().try_for_each(|value| {
            let value = value.get().into();
            to.opened(Slot::new(value, Table::OfId(created.id)), Some(Slot::new(value, parent)))
        })
    }
}

/// A list of attributes for a new process. Each attribute is an array of handles, to which the list only points.
struct AttributeList<'a> {
    // The elements are `usize` for the alignment that the list needs.
    buffer: Vec<usize>,
    handles: PhantomData<&'a [RawHandle]>,
}

impl<'a> AttributeList<'a> {
    /// Creates a list of those attributes that have handles.
    fn new(attributes: [(u32, &'a [RawHandle]); 3]) -> SysResult<Self> {
        const MOST: u32 = 3;
        let mut size = 0;
        // SAFETY: with a null list, the call only writes the required size to `size`, which is live. It is documented
        // to fail in this case.
        let _ = unsafe { InitializeProcThreadAttributeList(null_mut(), MOST, 0, &raw mut size) };
        let mut buffer = vec![0_usize; size.div_ceil(size_of::<usize>())];
        call("InitializeProcThreadAttributeList", &[("most", MOST.into())], || {
            // SAFETY: the buffer is writable and at least `size` bytes large, the size that the same call returned
            // for this number of attributes.
            let answer = unsafe {
                InitializeProcThreadAttributeList(buffer.as_mut_ptr().cast(), MOST, 0, &raw mut size)
            };
            succeeded(answer)
        })?;
        // From here on, the list is deleted when `list` is dropped, even if a step fails.
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
            // SAFETY: the list was initialized with room for three attributes, and each is set once. The list keeps
            // the pointer to `handles`, whose lifetime `'a` is part of the list's type, so they outlive it.
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
            // SAFETY: the list was initialized by `new` and isn't used after this drop.
            unsafe { DeleteProcThreadAttributeList(self.as_mut_ptr()) };
            Ok(())
        });
    }
}

/// Resumes the main thread of a suspended process. Returns how often it was suspended before.
pub(crate) fn resume(thread: BorrowedHandle<'_>) -> SysResult<u32> {
    call("ResumeThread", &[("thread", thread.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread.
        match unsafe { ResumeThread(thread.as_raw_handle()) } {
            u32::MAX => Err(io::Error::last_os_error()),
            count => Ok(count),
        }
    })
}

/// Starts to terminate a process, with the exit code 1. A wait tells when it has exited.
pub(crate) fn terminate(process: BorrowedHandle<'_>) -> SysResult<()> {
    call("TerminateProcess", &[("", Argument::Process(process)), ("exit code", 1_u32.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process.
        let answer = unsafe { TerminateProcess(process.as_raw_handle(), 1) };
        succeeded(answer)
    })
}

/// Returns the exit status of a process that has exited. For a running process the code is 259 (`STILL_ACTIVE`),
/// which a process can also exit with.
pub(crate) fn exit_status(process: BorrowedHandle<'_>) -> SysResult<Option<ExitStatus>> {
    let code = ask("GetExitCodeProcess", &[("", Argument::Process(process))], || {
        let mut code = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. `code` is a live
        // variable for the answer.
        let answer = unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) };
        succeeded(answer)?;
        Ok(code)
    })?;
    Ok(Some(ExitStatus::from_raw(code)))
}

/// Returns this process's creation time.
pub(crate) fn own_unique_number() -> SysResult<u64> {
    creation_time(current(), std::process::id())
}

/// Returns the number that distinguishes a process from all others that have had its id: its creation time.
pub(crate) fn unique_number(process: BorrowedHandle<'_>, id: u32) -> SysResult<u64> {
    creation_time(process, id)
}

/// Returns whether a process may be exiting. Windows doesn't report that, so the answer is always `true`.
pub(crate) fn may_be_ending(_id: u32) -> bool {
    true
}

/// Returns whether the error says that the process doesn't exist. Windows keeps a process as long as a handle to it
/// is open, so it never does.
pub(crate) fn is_missing(_: &io::Error) -> bool {
    false
}

/// Returns the creation time of a process, in units of 100 ns since 1601.
pub(crate) fn creation_time(process: BorrowedHandle<'_>, _id: u32) -> SysResult<u64> {
    ask("GetProcessTimes", &[("", Argument::Process(process))], || {
        let [mut created, mut exited, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. The four pointers
        // refer to live variables for the answers.
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

/// Returns the id of the process that a handle refers to, if the handle carries the right to query it. The query is
/// made for events, and has no event itself.
pub(crate) fn id_of(process: BorrowedHandle<'_>) -> Option<u32> {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. The call accesses no
    // memory of this process.
    let id = unsafe { GetProcessId(process.as_raw_handle()) };
    (id != 0).then_some(id)
}

/// Does the same as a part of an operation, with an event.
pub(crate) fn ask_for_id(process: BorrowedHandle<'_>) -> Option<u32> {
    let id = ask("GetProcessId", &[("handle", process.into())], || {
        id_of(process).ok_or_else(io::Error::last_os_error)
    });
    id.ok()
}

/// Returns the ids of a thread and of its process, if the handle carries the right to query them. The query is made
/// for names, and has no event.
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses it"))]
pub(crate) fn ids_of_thread(thread: BorrowedHandle<'_>) -> Option<(u32, u32)> {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread. The call accesses no
    // memory of this process.
    let id = unsafe { GetThreadId(thread.as_raw_handle()) };
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread. The call accesses no
    // memory of this process.
    let process = unsafe { GetProcessIdOfThread(thread.as_raw_handle()) };
    (id != 0 && process != 0).then_some((id, process))
}

/// Returns the pseudo handle of this process.
pub(crate) fn current() -> BorrowedHandle<'static> {
    handle::current_process()
}

/// Returns the id of this process's parent: the process that created it, or the one that its creator named as the
/// parent. The parent may have exited, and its id may belong to another process by now.
pub(crate) fn parent_id() -> SysResult<u32> {
    ask("NtQueryInformationProcess", &[("", Argument::Process(current()))], || {
        let mut answer = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: the pseudo handle is always valid. `answer` is the structure of this information class, it is live
        // and writable, and the length is its size.
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

/// Opens a process by its id, with these rights.
pub(crate) fn open(id: u32, access: Access) -> SysResult<Owned> {
    let arguments = [("", Argument::ProcessId(id)), ("access", Argument::Flags(access.bits()))];
    call("OpenProcess", &arguments, || {
        // SAFETY: all arguments of `OpenProcess` are numbers, and the call accesses no memory of this process.
        let raw = unsafe { OpenProcess(access.bits(), 0, id) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the successful call has just opened this handle for this process, and `raw` is its only copy, so no
        // other owner exists.
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
    fn thread_and_process_calls_fail_on_other_objects() -> io::Result<()> {
        let event = create_object::event(true)?;
        assert!(resume(event.as_handle()).is_err());
        assert_eq!(ids_of_thread(event.as_handle()), None);
        assert_eq!(ask_for_id(event.as_handle()), None);
        assert_eq!(ask_for_id(current()), Some(std::process::id()));
        Ok(())
    }

    #[test]
    fn creation_time_of_this_process_is_recent() -> io::Result<()> {
        // The time from 1601 to 1970.
        const EPOCH: Duration = Duration::from_secs(11_644_473_600);
        let created = Duration::from_micros(own_unique_number()? / 10);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)? + EPOCH;
        let age = now.checked_sub(created).expect("it was created before now");
        assert!(age < Duration::from_secs(24 * 60 * 60), "{age:?}");
        Ok(())
    }
}
