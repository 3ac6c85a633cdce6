//! The tracer of a session: a debugger with breakpoints at the begin and at the end of each call that is followed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::marker::PhantomData;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::calls::{self, At, Pending};
use super::debuggee::Process;
use super::thunks::{Site, Thunks};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inspect::audit::piped;
use crate::inspect::observe::{Action, Call, Change, Event, Next, Outcome, Step, Turn};
use crate::process::imp::reason_of_std;
use crate::sys::debug::{self, Exception, Happened, What};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::job::{self, Rules};
use crate::sys::object_info;
use crate::sys::process::{resume, terminate};
use crate::sys::tracee::{Registers, assign, registers, set_registers, suspend, terminate_thread};
use crate::sys::{SysError, SysResult, peb};

/// The most nested calls of one thread. Only code that jumps out of calls has more.
const MAX_PENDING: usize = 64;
/// How long a dropped session waits for the killed processes. The system finishes it if that takes longer.
const END: Duration = Duration::from_secs(10);

/// A thread of the tree.
#[derive(Debug)]
struct Thread {
    process: u32,
    handle: Owned,
    /// The calls in which it is, the outermost first.
    pending: Vec<Pending>,
    is_held: bool,
}

#[derive(Debug)]
pub(crate) struct Tracer {
    began: Instant,
    thunks: Thunks,
    processes: BTreeMap<u32, Process>,
    threads: BTreeMap<u32, Thread>,
    /// Whether the command was created, but its first event hasn't arrived yet.
    is_expected: bool,
    queue: VecDeque<Event>,
    /// The debug event at which a process is stopped until `next`, and whether the program must not see it.
    stopped: Option<(Happened, bool)>,
    /// Contains all processes of the tree, also those that have another debugger. Closing it kills them.
    _job: Owned,
    _turn: Turn,
    /// A debugger is bound to its thread.
    _bound: PhantomData<*const ()>,
}

fn failed(context: &str) -> impl FnOnce(SysError) -> Error {
    move |error| Error::system(context.to_owned(), error)
}

const DEBUGGED: &str = "a debugged process";

impl Tracer {
    /// Starts the command. This thread debugs it.
    pub(crate) fn start(mut command: Command, deadline: Instant) -> Result<Self> {
        let context = format!("the program {:?}", command.get_program());
        if command.get_program().is_empty() {
            return Err(Error::invalid("the program's name", "is empty; give a name or a path"));
        }
        let turn = Turn::begin()?;
        let thunks = Thunks::find().map_err(failed("the functions of ntdll"))?;
        let job = job::create(Rules { kill_on_close: true, children_stay_out: false });
        let job = job.map_err(failed("the job of the debugged processes"))?;
        debug::begin().map_err(failed("the thread that debugs the processes"))?;
        // From here on, dropping the tracer ends the debugging.
        let mut tracer = Self {
            began: Instant::now(),
            thunks,
            processes: BTreeMap::new(),
            threads: BTreeMap::new(),
            is_expected: false,
            queue: VecDeque::new(),
            stopped: None,
            _job: job,
            _turn: turn,
            _bound: PhantomData,
        };
        let spawned = debug::spawn(&mut command).map_err(|error| {
            reason_of_std(&command, error).unwrap_or_else(|error| Error::system(context.clone(), error))
        })?;
        tracer.is_expected = true;
        if spawned.is_piped {
            return Err(piped(context));
        }
        while tracer.queue.is_empty() {
            if !tracer.wait(deadline)? {
                let timeout = deadline.saturating_duration_since(tracer.began);
                return Err(Error::TimedOut { waiting_for: format!("{context} to start"), timeout });
            }
        }
        Ok(tracer)
    }

    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Next> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Next::Event(event));
            }
            if let Some((happened, is_handled)) = self.stopped.take() {
                go_on(&happened, is_handled)?;
            }
            if self.processes.is_empty() && !self.is_expected {
                return Ok(Next::AllExited);
            }
            if !self.wait(deadline)? {
                return Ok(Next::TimedOut);
            }
        }
    }

    /// Waits for a debug event and takes it. Returns whether one came before the deadline.
    fn wait(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the deadline has passed once the wait times out.
        let milliseconds = left.as_micros().div_ceil(1000).min(60_000);
        let milliseconds = u32::try_from(milliseconds).unwrap_or(60_000);
        match debug::next(milliseconds).map_err(failed("the debugged processes"))? {
            Some(happened) => {
                self.take(happened)?;
                // Checked here too, so that a flood of events can't extend the deadline.
                Ok(!self.queue.is_empty() || Instant::now() < deadline)
            }
            None => Ok(Instant::now() < deadline),
        }
    }

    fn push(&mut self, process: u32, thread: u32, step: Step) {
        self.queue.push_back(Event { process, thread, at: self.began.elapsed(), step });
    }

    /// Reads a debug event, and lets the process go on unless the event is reported.
    fn take(&mut self, mut happened: Happened) -> Result<()> {
        let (process, thread) = (happened.process, happened.thread());
        if let Some(handle) = happened.new_thread.take() {
            let new = Thread { process, handle, pending: Vec::new(), is_held: false };
            self.threads.insert(thread, new);
        }
        let is_handled = match happened.what {
            What::Begins(handle) => {
                happened.what = What::Other;
                self.begin(process, thread, handle);
                true
            }
            What::Ends(code) => {
                self.processes.remove(&process);
                self.threads.retain(|_, other| other.process != process);
                self.push(process, thread, Step::Exited { status: ExitStatus::from_raw(code) });
                true
            }
            What::ThreadEnds => {
                self.threads.remove(&thread);
                true
            }
            What::Raises(exception) => self.raised(process, thread, exception)?,
            What::Other => true,
        };
        if self.queue.is_empty() {
            return go_on(&happened, is_handled);
        }
        self.stopped = Some((happened, is_handled));
        Ok(())
    }

    fn begin(&mut self, id: u32, thread: u32, handle: Owned) {
        self.is_expected = false;
        // It fails for a process that is exiting, and before Windows 8 if this process is in a job. The processes that stay
        // debugged are ended without the job.
        let _ = assign(self._job.handle(), handle.handle());
        let basic = peb::basic(handle.handle());
        let parent = basic.as_ref().map_or(0, |basic| basic.parent);
        let line = basic.and_then(|basic| peb::command_line(handle.handle(), basic)).unwrap_or_default();
        let program = peb::program(handle.handle()).unwrap_or_default();
        let is_unseen = peb::is_narrow(handle.handle()).unwrap_or(false);
        self.push(id, thread, Step::Started { parent, program, arguments: vec![OsString::from_wide(&line)] });
        if is_unseen {
            self.push(id, thread, Step::Unseen { reason: "it is a 32-bit program" });
        }
        self.processes.insert(id, Process { is_unseen, ..Process::of(handle) });
    }

    /// Takes an exception. Returns whether the program must not see it.
    fn raised(&mut self, id: u32, thread: u32, exception: Exception) -> Result<bool> {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(false) };
        let (code, address) = match exception {
            Exception::Breakpoint { code, address } => (code, address),
            // The system raises it instead of returning an error, because the process is debugged.
            Exception::OfACall { address } => {
                return Ok(debug::is_of_debugged_call(process.handle.handle(), address));
            }
            Exception::Own => return Ok(false),
        };
        if let Some(site) = self.thunks.site(address).filter(|_| process.is_followed) {
            self.reached(id, thread, site)?;
            return Ok(true);
        }
        // A process begins with a breakpoint of the loader; a 32-bit process on 64-bit Windows begins with one of each kind.
        // Later ones are the program's own.
        if process.loader_breakpoints.contains(&code) {
            return Ok(false);
        }
        process.loader_breakpoints.push(code);
        if !process.is_followed && !process.is_unseen {
            match self.thunks.set(process.handle.handle()) {
                Ok(true) => process.is_followed = true,
                // The process has been killed.
                Err(_) if process.has_exited() => {}
                Ok(false) | Err(_) => {
                    process.is_unseen = true;
                    let reason =
                        "the functions of its ntdll have been changed, for example by a virus scanner";
                    self.push(id, thread, Step::Unseen { reason });
                }
            }
        }
        Ok(true)
    }

    /// Executes the instruction under a breakpoint, and reports the call.
    fn reached(&mut self, id: u32, thread: u32, site: Site) -> Result<()> {
        match (self.try_reached(id, thread, site), self.threads.get(&thread)) {
            (Ok(()), _) => Ok(()),
            // A process that has been killed has no registers, and its exit follows.
            (Err(_), _) if self.processes.get(&id).is_none_or(Process::has_exited) => Ok(()),
            // Neither has a thread that has been killed. If it wasn't, it must not go on in the middle of an instruction.
            (Err(_), Some(known)) => terminate_thread(known.handle.handle()).map_err(failed(DEBUGGED)),
            (Err(error), None) => Err(failed(DEBUGGED)(error)),
        }
    }

    fn try_reached(&mut self, id: u32, thread: u32, site: Site) -> SysResult<()> {
        let Some(known) = self.threads.get_mut(&thread) else {
            return Err(SysError::unexpected(
                "DbgUiWaitStateChange",
                "a thread began without a handle to it",
            ));
        };
        let mut registers = registers(known.handle.handle())?;
        match site {
            Site::Entry { name, function, next } => {
                registers.copy_first_argument();
                registers.go_to(next);
                set_registers(known.handle.handle(), &registers)?;
                let at = At { process: id, processes: &self.processes, registers: &registers };
                let half = self.processes.get(&id).and_then(|process| process.half_pipe.clone());
                // A call at the same place of the stack has been left without a return.
                known.pending.retain(|pending| pending.stack != registers.stack());
                let Some(pending) = calls::describe(&at, name, function, half.as_ref()) else {
                    return Ok(());
                };
                if known.pending.len() == MAX_PENDING {
                    known.pending.remove(0);
                }
                let calls: Vec<Call> = pending.calls.clone();
                known.pending.push(pending);
                for call in calls {
                    self.push(id, thread, Step::Calls(call));
                }
            }
            Site::Return { next } => {
                registers.go_to(next);
                set_registers(known.handle.handle(), &registers)?;
                let is_it = |pending: &Pending| pending.stack == registers.stack();
                let Some(index) = known.pending.iter().rposition(is_it) else { return Ok(()) };
                let pending = known.pending.remove(index);
                self.report_return(id, thread, pending, &registers);
            }
        }
        Ok(())
    }

    fn report_return(&mut self, id: u32, thread: u32, pending: Pending, registers: &Registers) {
        let at = At { process: id, processes: &self.processes, registers };
        let returned = calls::returned(&at, pending);
        if let Some(process) = self.processes.get_mut(&id) {
            // A pipe that has both ends is no longer a half one.
            if returned.half.is_some() || returned.steps.iter().any(|(call, _)| call.function == "CreatePipe")
            {
                process.half_pipe = returned.half;
            }
        }
        for (call, outcome) in returned.steps {
            self.push(id, thread, Step::Returned(call, outcome));
        }
        if let Some((source, value)) = returned.closed {
            let call = Call { function: "NtDuplicateObject", action: Action::Close { handles: vec![value] } };
            self.push(source, thread, Step::Returned(call, Outcome::Done(0)));
        }
    }

    pub(crate) fn hold(&mut self) {
        let Some(id) = self.stopped.as_ref().map(|(happened, _)| happened.thread()) else { return };
        if let Some(thread) = self.threads.get_mut(&id).filter(|thread| !thread.is_held) {
            // It fails only for a thread that is exiting, which makes no further call.
            thread.is_held = suspend(thread.handle.handle()).is_ok();
        }
    }

    pub(crate) fn release(&mut self, thread: u32) -> Result<()> {
        match self.threads.get_mut(&thread).filter(|thread| thread.is_held) {
            Some(thread) => {
                thread.is_held = false;
                resume(thread.handle.handle()).map(drop).map_err(failed(DEBUGGED))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn kill(&mut self, process: u32) {
        if let Some(process) = self.processes.get(&process) {
            // It fails if the process is exiting.
            let _ = terminate(process.handle.handle());
        }
    }

    pub(crate) fn environment(&self, process: u32) -> Option<String> {
        let handle = self.processes.get(&process)?.handle.handle();
        let parameters = peb::basic(handle).and_then(|basic| peb::read(handle, basic)).ok()?;
        Some(String::from_utf16_lossy(&parameters.environment))
    }

    pub(crate) fn streams(&self, process: u32) -> Vec<HandleValue> {
        let Some(process) = self.processes.get(&process) else { return Vec::new() };
        let handle = process.handle.handle();
        let parameters = peb::basic(handle).and_then(|basic| peb::read(handle, basic));
        let streams = parameters.map(|parameters| parameters.streams).unwrap_or_default();
        streams.into_iter().filter_map(|number| HandleValue::new(number as u64).ok()).collect()
    }

    pub(crate) fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> Result<Option<bool>> {
        let copy = |(process, value): (u32, HandleValue)| {
            let Some(process) = self.processes.get(&process) else { return Ok(None) };
            process.copy_of(value).map_err(failed(DEBUGGED))
        };
        match (copy(one)?, copy(other)?) {
            (Some(one), Some(other)) => {
                object_info::is_same(one.handle(), other.handle()).map(Some).map_err(failed("two handles"))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn change(
        &mut self,
        process: u32,
        value: HandleValue,
        change: Change,
        deadline: Instant,
    ) -> Result<Option<bool>> {
        let Some(debuggee) = self.processes.get(&process) else { return Ok(Some(false)) };
        // Its threads must not open a handle of the same value meanwhile. A thread that is exiting can't be suspended.
        let threads = self.threads.values().filter(|thread| thread.process == process);
        let suspended: Vec<&Thread> =
            threads.filter(|thread| suspend(thread.handle.handle()).is_ok()).collect();
        let changed = debuggee.change(value, change, deadline);
        for thread in suspended {
            resume(thread.handle.handle()).map_err(failed(DEBUGGED))?;
        }
        changed.map(Some).map_err(failed(DEBUGGED))
    }
}

fn go_on(happened: &Happened, is_handled: bool) -> Result<()> {
    debug::go_on(happened, is_handled).map_err(failed(&format!("process {}", happened.process)))
}

impl Drop for Tracer {
    /// Kills the remaining processes and waits for them.
    fn drop(&mut self) {
        let begun = Instant::now();
        for process in self.processes.values() {
            // Terminating a process that is already exiting fails, which is fine.
            let _ = terminate(process.handle.handle());
        }
        let mut stopped = self.stopped.take().map(|(happened, _)| happened);
        while begun.elapsed() < END {
            if let Some(happened) = stopped.take() {
                if go_on(&happened, true).is_err() {
                    break;
                }
            }
            if self.processes.is_empty() && !self.is_expected {
                break;
            }
            match debug::next(100) {
                Ok(Some(mut happened)) => {
                    match &happened.what {
                        What::Begins(process) => {
                            self.is_expected = false;
                            let _ = terminate(process.handle());
                            if let What::Begins(handle) = std::mem::replace(&mut happened.what, What::Other) {
                                self.processes.insert(happened.process, Process::of(handle));
                            }
                        }
                        What::Ends(_) => {
                            self.processes.remove(&happened.process);
                        }
                        _ => {}
                    }
                    stopped = Some(happened);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        debug::stop();
    }
}
