//! The tracer of a session: follows each thread from one system call to the next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::calls::{self, At, Escape, Pending};
use super::tracees::{self, MAX_PAUSE, MIN_PAUSE, Started, check_can_trace, failed, refused};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inspect::audit::{Program, piped};
use crate::inspect::observe::{Action, Change, Event, Next, Outcome, Step, Turn};
use crate::sys::handle::{link_at, page_at};
use crate::sys::io::HasHandle;
use crate::sys::proc_fd;
use crate::sys::ptrace::{self, CallStop, Happened, NextEvent, Stops};
use crate::sys::ptrace_inject as inject;
use crate::sys::spawn::without_signals;
use crate::sys::spawn_plan::EXECUTE;
use crate::sys::{Errand, SysError, begin_thread};

/// A traced thread.
#[derive(Debug)]
struct Thread {
    process: u32,
    /// The call in which the thread is, if it is one that is reported.
    call: Option<Pending>,
    is_in_call: bool,
    is_held: bool,
}

/// A process of the tree.
#[derive(Debug, Default)]
struct Process {
    parent: u32,
    /// The memory of named objects: address and length.
    maps: Vec<(u64, u64)>,
    is_unseen: bool,
}

#[derive(Debug)]
pub(crate) struct Tracer {
    began: Instant,
    threads: BTreeMap<u32, Thread>,
    processes: BTreeMap<u32, Process>,
    /// New threads and processes that have stopped before their parent's event was read.
    early: Vec<u32>,
    /// Those of which the parent's event came first.
    expected: Vec<u32>,
    /// The thread that the next call of `next` resumes.
    current: Option<u32>,
    /// Threads that are to be resumed with the current one.
    with_current: Vec<u32>,
    queue: VecDeque<Event>,
    /// Signals that arrived for a thread while it was made to execute another call.
    signals: HashMap<u32, i32>,
    _turn: Turn,
    /// The tracer is bound to its thread.
    _bound: PhantomData<*const ()>,
}

impl Tracer {
    /// Starts the command. Another thread starts it, because std returns only when the program has begun.
    pub(crate) fn start(command: Command, deadline: Instant) -> Result<Self> {
        let mut program = Program::Std(command);
        let context = format!("the program {:?}", program.name());
        check_can_trace(&program, &context)?;
        let turn = Turn::begin()?;
        let (near, far, meeting) = ptrace::meeting().map_err(failed(&context))?;
        if let Program::Std(command) = &mut program {
            ptrace::meet(command, meeting);
        }
        let errand = Errand::of_this_thread();
        let starter = without_signals(|| {
            let thread = thread::Builder::new().name("handover observe".into());
            let context = context.clone();
            let work = move || {
                errand.run(|| {
                    let started = tracees::start(&mut program, &context);
                    // The tracer doesn't wait for a child that failed before the meeting.
                    drop(near);
                    started
                })
            };
            begin_thread(|| thread.spawn(work))
        });
        let starter = starter.map_err(failed("the thread that starts the command"))?;
        let starter = starter.map_err(failed("the thread that starts the command"))?;
        let Some(command) = ptrace::hear_id(far.handle()).map_err(failed("the process to trace"))? else {
            finish(starter)?;
            return Err(killed(&context));
        };
        if let Err(source) = ptrace::seize(command, Stops::AtCalls) {
            let context = refused(command, &source);
            // The child's error is ignored, because the tracer returns the cause.
            let _ = ptrace::let_go(far.handle(), Err(&source));
            let _ = finish(starter);
            return Err(Error::system(context, source));
        }
        let mut tracer = Self {
            began: Instant::now(),
            threads: BTreeMap::new(),
            processes: BTreeMap::new(),
            early: Vec::new(),
            expected: Vec::new(),
            current: None,
            with_current: Vec::new(),
            queue: VecDeque::new(),
            signals: HashMap::new(),
            _turn: turn,
            _bound: PhantomData,
        };
        tracer.add(command, command);
        tracer.processes.insert(command, Process { parent: std::process::id(), ..Process::default() });
        let let_go = ptrace::let_go(far.handle(), Ok(())).map_err(failed("the traced process"));
        drop(far);
        let started = match let_go {
            Ok(()) => tracer.reach_program(command, deadline, starter, &context)?,
            Err(error) => {
                ptrace::kill(command);
                let _ = finish(starter);
                return Err(error);
            }
        };
        if started.is_piped { Err(piped(context)) } else { Ok(tracer) }
    }

    /// Lets the first process run until its program begins.
    ///
    /// Until std has finished starting it, std may be the one that waits for the process, so its exit isn't taken.
    fn reach_program(
        &mut self,
        command: u32,
        deadline: Instant,
        starter: Starter,
        context: &str,
    ) -> Result<Started> {
        let (mut starter, mut started) = (Some(starter), None);
        let mut pauses = 0;
        loop {
            match ptrace::next(started.is_some()).map_err(failed("the traced process"))? {
                NextEvent::One(Happened::Stopped { thread, event: libc::PTRACE_EVENT_EXEC, .. })
                    if thread == command =>
                {
                    self.begin_program(thread);
                    return match (started, starter) {
                        (None, Some(starter)) => finish(starter),
                        (started, _) => started.ok_or_else(|| killed(context)),
                    };
                }
                NextEvent::One(Happened::Stopped { thread, signal, event }) => {
                    let signal = if event == 0 { signal } else { 0 };
                    ptrace::resume(thread, signal).map_err(failed("the traced process"))?;
                }
                NextEvent::One(Happened::Ended { thread, .. }) if thread == command => {
                    self.threads.clear();
                    return Err(killed(context));
                }
                NextEvent::One(Happened::Ended { .. }) => {}
                // The new process closes std's pipe shortly before it stops, so std can be the first to know.
                NextEvent::Nothing | NextEvent::NoneIsLeft => {
                    if let Some(starter) = starter.take_if(|starter| starter.is_finished()) {
                        let outcome = finish(starter);
                        if outcome.is_err() {
                            // Std has waited for the process.
                            self.threads.clear();
                        }
                        started = Some(outcome?);
                    } else if started.is_some() && !is_traced(command) {
                        self.threads.clear();
                        return Err(killed(context));
                    }
                    if let Err(error) = check_deadline(deadline, self.began, "the program to begin") {
                        ptrace::kill(command);
                        // Then std gets an error or the exit of the child, and the thread ends.
                        drop(starter.map(finish));
                        return Err(error);
                    }
                    pauses += 1;
                    pause(pauses);
                }
            }
        }
    }

    fn add(&mut self, thread: u32, process: u32) {
        let new = Thread { process, call: None, is_in_call: false, is_held: false };
        self.threads.entry(thread).or_insert(new);
    }

    fn push(&mut self, thread: u32, step: Step) {
        let process = self.threads.get(&thread).map_or(thread, |known| known.process);
        self.queue.push_back(Event { process, thread, at: self.began.elapsed(), step });
    }

    /// Reports that a process begins a program.
    fn begin_program(&mut self, thread: u32) {
        let process = thread;
        let path = |name: &str| format!("/proc/{process}/{name}");
        let program = link_at(Path::new(&path("exe"))).unwrap_or_default();
        let line = page_at(Path::new(&path("cmdline"))).unwrap_or_default();
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        let arguments = line.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
        let known = self.processes.entry(process).or_default();
        known.maps.clear();
        known.is_unseen = false;
        let parent = known.parent;
        // All other threads of the process are gone. If one of them began the program, it has this id now.
        self.threads.retain(|other, known| known.process != process || *other == thread);
        self.add(thread, process);
        if let Some(known) = self.threads.get_mut(&thread) {
            (known.call, known.is_in_call, known.is_held) = (None, true, false);
        }
        self.push(thread, Step::Started { parent, program, arguments });
        self.current = Some(thread);
    }

    pub(crate) fn hold(&mut self) {
        if let Some(thread) = self.current.take() {
            if let Some(known) = self.threads.get_mut(&thread) {
                known.is_held = true;
            }
        }
    }

    pub(crate) fn release(&mut self, thread: u32) -> Result<()> {
        match self.threads.get_mut(&thread) {
            Some(known) if known.is_held => {
                known.is_held = false;
                self.resume(thread, 0)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn kill(&mut self, process: u32) {
        let threads = self.threads.iter().filter(|(_, known)| known.process == process);
        threads.for_each(|(thread, _)| ptrace::kill(*thread));
    }

    fn resume(&mut self, thread: u32, signal: i32) -> Result<()> {
        let signal = self.signals.remove(&thread).filter(|_| signal == 0).unwrap_or(signal);
        ptrace::resume_to_call(thread, signal).map_err(failed("a traced thread"))
    }

    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Next> {
        if self.queue.is_empty() {
            if let Some(thread) = self.current.take() {
                self.resume(thread, 0)?;
            }
            for thread in std::mem::take(&mut self.with_current) {
                self.resume(thread, 0)?;
            }
        }
        let mut pauses = 0_u32;
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Next::Event(event));
            }
            match ptrace::next(true).map_err(failed("the traced processes"))? {
                NextEvent::One(happened) => {
                    pauses = 0;
                    self.take(&happened)?;
                }
                NextEvent::NoneIsLeft => return Ok(Next::AllExited),
                NextEvent::Nothing if Instant::now() >= deadline => return Ok(Next::TimedOut),
                NextEvent::Nothing => {
                    pauses += 1;
                    pause(pauses);
                }
            }
            if self.queue.is_empty() && pauses == 0 && Instant::now() >= deadline {
                return Ok(Next::TimedOut);
            }
        }
    }

    /// Reads an event of the kernel, and lets the thread go on unless the event is reported.
    fn take(&mut self, happened: &Happened) -> Result<()> {
        let (thread, signal, event) = match *happened {
            Happened::Ended { thread, status } => {
                self.end(thread, status);
                return Ok(());
            }
            Happened::Stopped { thread, signal, event } => (thread, signal, event),
        };
        match event {
            libc::PTRACE_EVENT_EXEC => {
                self.begin_program(thread);
                Ok(())
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.copy(thread)
            }
            ptrace::EVENT_STOP if !self.threads.contains_key(&thread) => {
                // Its parent's event tells whether it is a thread or a process.
                self.early.push(thread);
                Ok(())
            }
            ptrace::EVENT_STOP if self.expected.contains(&thread) => {
                self.expected.retain(|other| *other != thread);
                self.resume(thread, 0)
            }
            // A group-stop, which another process requested. The thread stays stopped, and its parent is notified.
            ptrace::EVENT_STOP if ptrace::is_stop(signal) => {
                ptrace::listen(thread).map_err(failed("a traced thread"))
            }
            0 if signal == ptrace::CALL_STOP => self.at_call(thread),
            0 => self.resume(thread, signal),
            _ => self.resume(thread, 0),
        }
    }

    fn end(&mut self, thread: u32, status: std::process::ExitStatus) {
        let known = self.threads.remove(&thread);
        self.early.retain(|other| *other != thread);
        self.expected.retain(|other| *other != thread);
        self.signals.remove(&thread);
        let process = known.map_or(thread, |known| known.process);
        if process == thread && self.processes.remove(&process).is_some() {
            self.queue.push_back(Event {
                process,
                thread,
                at: self.began.elapsed(),
                step: Step::Exited { status },
            });
            self.current = None;
        }
    }

    /// Adds the thread or the process that a thread has made.
    fn copy(&mut self, thread: u32) -> Result<()> {
        let made = ptrace::message(thread).ok().and_then(|id| u32::try_from(id).ok());
        let Some(made) = made else { return self.resume(thread, 0) };
        let parent = self.threads.get(&thread).map_or(thread, |known| known.process);
        let is_process = leader_of(made).is_none_or(|leader| leader == made);
        self.add(made, if is_process { made } else { parent });
        let is_stopped = self.early.contains(&made);
        self.early.retain(|other| *other != made);
        if !is_stopped {
            self.expected.push(made);
        }
        if is_process {
            let maps = self.processes.get(&parent).map(|known| known.maps.clone()).unwrap_or_default();
            self.processes.insert(made, Process { parent, maps, is_unseen: false });
            self.queue.push_back(Event {
                process: made,
                thread,
                at: self.began.elapsed(),
                step: Step::Forked { parent },
            });
            self.current = Some(thread);
            self.with_current.extend(is_stopped.then_some(made));
            return Ok(());
        }
        if is_stopped {
            self.resume(made, 0)?;
        }
        self.resume(thread, 0)
    }

    /// Reads the system call at which a thread is stopped, and reports it or lets the thread go on.
    fn at_call(&mut self, thread: u32) -> Result<()> {
        match self.read_call(thread)? {
            Some(step) => {
                self.push(thread, step);
                self.current = Some(thread);
                Ok(())
            }
            None => self.resume(thread, 0),
        }
    }

    fn read_call(&mut self, thread: u32) -> Result<Option<Step>> {
        let stop = match ptrace::call_stop(thread) {
            Ok(stop) => stop,
            // It has been killed, and its exit follows.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(failed("a traced thread")(error)),
        };
        let Some(known) = self.threads.get_mut(&thread) else { return Ok(None) };
        let process = known.process;
        let pending = known.call.take();
        known.is_in_call = matches!(stop, CallStop::Before { .. });
        let children: Vec<u32> =
            self.processes.iter().filter(|(_, other)| other.parent == process).map(|(id, _)| *id).collect();
        let of_process = self.processes.entry(process).or_default();
        let at = At { process, thread, children: &children, maps: &of_process.maps };
        Ok(match (stop, pending) {
            (CallStop::Before { number, arguments }, _) => {
                if let Some(escape) = calls::escape(&at, number, arguments) {
                    keep_traced(thread, escape);
                }
                let pending = calls::describe(&at, number, arguments);
                let step = pending.as_ref().map(|pending| Step::Calls(pending.call.clone()));
                if let Some(known) = self.threads.get_mut(&thread) {
                    known.call = pending;
                }
                step
            }
            (CallStop::After { result, is_error }, Some(pending)) => {
                let outcome = calls::outcome(&at, &pending, result, is_error);
                if let (Action::Map { .. }, Outcome::Mapped(address)) = (&pending.call.action, &outcome) {
                    of_process.maps.push((*address, pending.length()));
                }
                Some(Step::Returned(pending.call, outcome))
            }
            (CallStop::OfOtherArchitecture, _) if !of_process.is_unseen => {
                of_process.is_unseen = true;
                Some(Step::Unseen { reason: "it is a program of another architecture, such as a 32-bit one" })
            }
            _ => None,
        })
    }

    pub(crate) fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> Result<Option<bool>> {
        is_same(one, other)
    }

    pub(crate) fn environment(&self, process: u32) -> Option<String> {
        let block = page_at(Path::new(&format!("/proc/{process}/environ"))).ok()?;
        Some(String::from_utf8_lossy(&block).into_owned())
    }

    #[allow(clippy::unused_self, reason = "on Windows each process has its own")]
    pub(crate) fn streams(&self, _: u32) -> Vec<HandleValue> {
        (0..3).filter_map(|value| HandleValue::new(value).ok()).collect()
    }

    pub(crate) fn change(
        &mut self,
        process: u32,
        value: HandleValue,
        change: Change,
        deadline: Instant,
    ) -> Result<Option<bool>> {
        if !inject::IS_SUPPORTED {
            return Ok(None);
        }
        let is_stopped =
            |thread: &u32| self.threads.get(thread).is_some_and(|known| known.process == process);
        let Some(thread) = self.current.filter(is_stopped) else {
            return Err(Error::invalid(
                "the session",
                "has no stopped thread of this process; call this right after an event of it",
            ));
        };
        let is_before_own_call = |stop: &CallStop| matches!(stop, CallStop::Before { .. });
        let mut stop = ptrace::call_stop(thread).map_err(failed("a traced thread"))?;
        while !is_before_own_call(&stop) {
            self.resume(thread, 0)?;
            stop = self.next_stop(thread, deadline)?;
        }
        let argument = u64::from(value.get());
        let changed = match change {
            Change::Close => self.execute(thread, libc::SYS_close, [argument, 0, 0], deadline)? == 0,
            Change::Replace => {
                let [domain, kind] = [libc::AF_UNIX, libc::SOCK_STREAM].map(i64::from);
                let arguments = [domain, kind, 0].map(i64::unsigned_abs);
                let other = self.execute(thread, libc::SYS_socket, arguments, deadline)?;
                let Ok(other) = u64::try_from(other) else { return Ok(Some(false)) };
                let replaced = self.execute(thread, libc::SYS_dup3, [other, argument, 0], deadline)?;
                self.execute(thread, libc::SYS_close, [other, 0, 0], deadline)?;
                replaced >= 0
            }
        };
        // The thread stands before its own call, which hasn't been reported if it was reached here.
        let is_reported =
            self.threads.get(&thread).is_some_and(|known| known.is_in_call && known.call.is_some());
        if !is_reported {
            if let Some(step) = self.read_call(thread)? {
                self.push(thread, step);
            }
        }
        Ok(Some(changed))
    }

    /// Makes a thread that stands before a call of its own execute another one, and returns its result.
    fn execute(
        &mut self,
        thread: u32,
        number: libc::c_long,
        arguments: [u64; 3],
        deadline: Instant,
    ) -> Result<i64> {
        let lost = |error| failed("a traced thread")(error);
        let own = inject::registers(thread).map_err(lost)?;
        inject::replace_call(thread, &own, number, arguments).map_err(lost)?;
        ptrace::resume_to_call(thread, 0).map_err(lost)?;
        let result = loop {
            if let CallStop::After { result, .. } = self.next_stop(thread, deadline)? {
                break result;
            }
            ptrace::resume_to_call(thread, 0).map_err(lost)?;
        };
        inject::restore_call(thread, &own).map_err(lost)?;
        ptrace::resume_to_call(thread, 0).map_err(lost)?;
        while !matches!(self.next_stop(thread, deadline)?, CallStop::Before { .. }) {
            ptrace::resume_to_call(thread, 0).map_err(lost)?;
        }
        Ok(result)
    }

    /// Waits for the next stop of one thread. Signals are kept back.
    fn next_stop(&mut self, thread: u32, deadline: Instant) -> Result<CallStop> {
        let mut pauses = 0;
        loop {
            match ptrace::next_stop_of(thread).map_err(failed("a traced thread"))? {
                NextEvent::One(Happened::Stopped { signal: ptrace::CALL_STOP, event: 0, .. }) => {
                    return ptrace::call_stop(thread).map_err(failed("a traced thread"));
                }
                NextEvent::One(Happened::Stopped { signal, event, .. }) => {
                    if event == 0 {
                        self.signals.insert(thread, signal);
                    }
                    ptrace::resume_to_call(thread, 0).map_err(failed("a traced thread"))?;
                }
                _ => {
                    check_deadline(deadline, self.began, "the thread to make its next system call")?;
                    pauses += 1;
                    pause(pauses);
                }
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let early = self.early.iter().copied();
        let threads: Vec<u32> = self.threads.keys().copied().chain(early).collect();
        tracees::end(threads, || {});
    }
}

/// Takes the flag from a thread's call that would make an untraced process, which would outlive the session. If it can't
/// be done, that process isn't seen.
fn keep_traced(thread: u32, escape: Escape) {
    if !inject::IS_SUPPORTED {
        return;
    }
    let _ = match escape {
        Escape::Argument { call, arguments } => inject::registers(thread)
            .and_then(|registers| inject::replace_call(thread, &registers, call, arguments)),
        Escape::Memory { address, flags } => inject::write_number(thread, address, flags),
    };
}

/// Waits a moment for the next stop, longer each time. Most stops come at once, so the first pauses only let other threads
/// run.
fn pause(count: u32) {
    match count {
        0..50 => thread::yield_now(),
        50..60 => thread::sleep(MIN_PAUSE * 5),
        _ => thread::sleep(MAX_PAUSE),
    }
}

/// The thread that starts the command.
type Starter = thread::JoinHandle<Result<Started>>;

fn finish(starter: Starter) -> Result<Started> {
    starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn killed(context: &str) -> Error {
    let error = SysError::unexpected(EXECUTE, "its process was killed before the program began");
    failed(context)(error)
}

/// Returns whether a process exists and has a tracer.
fn is_traced(process: u32) -> bool {
    let page = page_at(Path::new(&format!("/proc/{process}/status"))).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    let tracer = page.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

fn check_deadline(deadline: Instant, began: Instant, waiting_for: &str) -> Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let timeout: Duration = deadline.saturating_duration_since(began);
    Err(Error::TimedOut { waiting_for: waiting_for.to_owned(), timeout })
}

/// Returns the process of a thread.
fn leader_of(thread: u32) -> Option<u32> {
    let page = page_at(Path::new(&format!("/proc/{thread}/status"))).ok()?;
    let page = String::from_utf8_lossy(&page).into_owned();
    page.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Returns whether two descriptors refer to one object: to one open file description, or to one FIFO, pipe or shared memory,
/// of which each opening makes another description.
fn is_same(one: (u32, HandleValue), other: (u32, HandleValue)) -> Result<Option<bool>> {
    match proc_fd::compare(one, other).map_err(failed("two handles"))? {
        None => return Ok(None),
        Some(std::cmp::Ordering::Equal) => return Ok(Some(true)),
        Some(_) => {}
    }
    let file = |(process, value): (u32, HandleValue)| {
        let path = format!("/proc/{process}/fd/{value}");
        let link = link_at(Path::new(&path)).unwrap_or_default().to_string_lossy().into_owned();
        let (is_fifo, inode) = proc_fd::file_at(&path).ok()?;
        (is_fifo || link.starts_with("/dev/shm/") || link.starts_with("/memfd:")).then_some(inode)
    };
    Ok(Some(file(one).is_some_and(|inode| file(other) == Some(inode))))
}
