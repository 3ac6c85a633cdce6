//! Describes what a call of a debugged process does with handles.
//!
//! All memory of the process that is read here may change or be invalid. Then the call is described with less, or not at all.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::{Duration, SystemTime};

use super::debuggee::{HalfPipe, Process};
use crate::handle::access_names::words;
use crate::handle::{HandleValue, ObjectKind};
use crate::inspect::observe::{Action, Call, Inherits, Kind, Outcome, Target};
use crate::sys::handle::{duplicate_from, kind_of};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::object_info::is_same;
use crate::sys::peb;
use crate::sys::process::{ask_for_id, ids_of_thread};
use crate::sys::tracee::{Registers, error_of};

/// The effect of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Create(Kind),
    Open(Kind),
    OpenFile,
    CreatePipe,
    Signal,
    Reset,
    Pulse,
    Wait,
    WaitForSeveral,
    SignalAndWait,
    Delay,
    Duplicate,
    SetFlags,
    Spawn,
    OpenProcess,
    Map,
    Read,
    Write,
    Close,
}

/// The functions of ntdll that are followed. Those of kernel32 and of the C library end in them.
pub(super) const FUNCTIONS: &[(&CStr, Function)] = &[
    (c"NtClose", Function::Close),
    (c"NtCreateEvent", Function::Create(Kind::Event)),
    (c"NtOpenEvent", Function::Open(Kind::Event)),
    (c"NtSetEvent", Function::Signal),
    (c"NtSetEventBoostPriority", Function::Signal),
    (c"NtResetEvent", Function::Reset),
    (c"NtClearEvent", Function::Reset),
    (c"NtPulseEvent", Function::Pulse),
    (c"NtCreateSemaphore", Function::Create(Kind::Semaphore)),
    (c"NtOpenSemaphore", Function::Open(Kind::Semaphore)),
    (c"NtReleaseSemaphore", Function::Signal),
    (c"NtCreateMutant", Function::Create(Kind::Mutex)),
    (c"NtOpenMutant", Function::Open(Kind::Mutex)),
    (c"NtReleaseMutant", Function::Signal),
    (c"NtCreateTimer", Function::Create(Kind::Timer)),
    (c"NtOpenTimer", Function::Open(Kind::Timer)),
    (c"NtCreateSection", Function::Create(Kind::SharedMemory)),
    (c"NtOpenSection", Function::Open(Kind::SharedMemory)),
    (c"NtMapViewOfSection", Function::Map),
    (c"NtCreateNamedPipeFile", Function::CreatePipe),
    (c"NtCreateFile", Function::OpenFile),
    (c"NtOpenFile", Function::OpenFile),
    (c"NtReadFile", Function::Read),
    (c"NtWriteFile", Function::Write),
    (c"NtWaitForSingleObject", Function::Wait),
    (c"NtWaitForMultipleObjects", Function::WaitForSeveral),
    (c"NtSignalAndWaitForSingleObject", Function::SignalAndWait),
    (c"NtDelayExecution", Function::Delay),
    (c"NtDuplicateObject", Function::Duplicate),
    (c"NtSetInformationObject", Function::SetFlags),
    (c"NtOpenProcess", Function::OpenProcess),
    (c"NtCreateUserProcess", Function::Spawn),
];

/// A call that a thread has begun.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// The calls that are reported. One function can have two effects.
    pub(super) calls: Vec<Call>,
    /// The thread's stack pointer, which is the same when the function returns.
    pub(super) stack: u64,
    /// The addresses to which the kernel writes its answers.
    answers: Vec<u64>,
    /// The first end of an unnamed pipe, before or after the call.
    half: Option<HalfPipe>,
    /// The process from which a call duplicates or closes a handle, if it isn't the caller.
    source: Option<u32>,
}

/// The result of a call.
pub(super) struct Returned {
    pub(super) steps: Vec<(Call, Outcome)>,
    /// A handle of another process that the call has closed: the process, and the handle.
    pub(super) closed: Option<(u32, HandleValue)>,
    pub(super) half: Option<HalfPipe>,
}

/// A thread that is stopped at the begin or at the end of a function.
pub(super) struct At<'a> {
    pub(super) process: u32,
    pub(super) processes: &'a BTreeMap<u32, Process>,
    pub(super) registers: &'a Registers,
}

/// The process behind a handle, or behind the thread that a handle is to.
enum Behind {
    Process(u32),
    Thread(u32),
    Other,
}

/// The pseudo handle of the calling process, and that of the calling thread.
const THIS_PROCESS: u64 = u64::MAX;
const THIS_THREAD: u64 = u64::MAX - 1;

/// The flag of an object's attributes that makes the handle inheritable.
const OBJ_INHERIT: u32 = 2;
/// The most handles in a list.
const MAX_LIST: u64 = 64;
/// The most attributes of a new process that are looked at.
const MAX_ATTRIBUTES: u64 = 64;

/// The part of a path where pipes are.
const PIPES: [&str; 3] = ["\\??\\pipe\\", "\\device\\namedpipe\\", "\\dosdevices\\pipe\\"];
/// Parts of the names that `CreatePipe` gives in Wine and in old versions of Windows.
const UNNAMED: [&str; 2] = ["win32.pipes.", "win32pipes."];

/// Returns the handle in an argument. Its two lowest bits aren't part of the value, nor are the upper 32 bits.
fn handle(argument: u64) -> Option<HandleValue> {
    HandleValue::new(argument & 0xffff_fffc).ok()
}

#[allow(clippy::cast_possible_truncation, reason = "the kernel reads the lower 32 bits too")]
fn low(argument: u64) -> u32 {
    argument as u32
}

fn wide(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    String::from_utf16_lossy(&units)
}

impl At<'_> {
    fn known(&self) -> Option<&Process> {
        self.processes.get(&self.process)
    }

    fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read_into(address, &mut bytes)?;
        Some(bytes)
    }

    fn read_into(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let address = usize::try_from(address).ok().filter(|address| *address != 0)?;
        peb::memory(self.known()?.handle.handle(), address, bytes).ok()
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }

    /// Returns an argument of the function, of which the first has the number 0.
    fn argument(&self, index: u64) -> Option<u64> {
        match usize::try_from(index) {
            Ok(index @ 0..4) => Some(self.registers.arguments()[index]),
            // Above the return address is room for the four arguments in registers.
            _ => self.word(self.registers.stack().checked_add(8 + 8 * index)?),
        }
    }

    /// Returns the name and the inheritable flag in an `OBJECT_ATTRIBUTES`, with the folder of the name.
    fn attributes(&self, address: u64) -> (u64, Option<String>, bool) {
        let Some(bytes) = self.read::<32>(address) else { return (0, None, false) };
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        (word(8), self.text(word(16)), low(word(24)) & OBJ_INHERIT != 0)
    }

    /// Returns the text of a `UNICODE_STRING`.
    fn text(&self, address: u64) -> Option<String> {
        let bytes = self.read::<16>(address)?;
        let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let mut text = vec![0; length & !1];
        let from = u64::from_le_bytes(std::array::from_fn(|index| bytes[8 + index]));
        if !text.is_empty() {
            self.read_into(from, &mut text)?;
        }
        Some(wide(&text)).filter(|text| !text.is_empty())
    }

    /// Returns this process's duplicate of a handle.
    fn copy(&self, value: HandleValue) -> Option<Owned> {
        duplicate_from(self.known()?.handle.handle(), value).ok()
    }

    fn behind(&self, argument: u64) -> Behind {
        match argument {
            THIS_PROCESS => return Behind::Process(self.process),
            THIS_THREAD => return Behind::Thread(self.process),
            _ => {}
        }
        let Some(copy) = handle(argument).and_then(|value| self.copy(value)) else { return Behind::Other };
        match kind_of(copy.handle()) {
            Ok(ObjectKind::Process) => {
                // The handle needn't have the right to query the id.
                let is_it =
                    |process: &Process| is_same(process.handle.handle(), copy.handle()).unwrap_or(false);
                let known = self.processes.iter().find(|(_, process)| is_it(process)).map(|(id, _)| *id);
                known.or_else(|| ask_for_id(copy.handle())).map_or(Behind::Other, Behind::Process)
            }
            Ok(ObjectKind::Thread) => {
                ids_of_thread(copy.handle()).map_or(Behind::Other, |(_, process)| Behind::Thread(process))
            }
            _ => Behind::Other,
        }
    }

    fn process_behind(&self, argument: u64) -> Option<u32> {
        match self.behind(argument) {
            Behind::Process(process) => Some(process),
            _ => None,
        }
    }

    /// Returns the time at an address: relative if it is negative, `None` for no limit.
    fn time(&self, address: u64) -> Option<Duration> {
        let time = i64::from_le_bytes(self.read(address)?);
        let ticks = if time <= 0 {
            time.unsigned_abs()
        } else {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos() / 100;
            // From 1601 to 1970.
            let now = u64::try_from(now).ok()? + 116_444_736_000_000_000;
            time.unsigned_abs().saturating_sub(now)
        };
        Some(Duration::from_nanos(ticks.saturating_mul(100)))
    }

    fn wait(&self, handles: &[u64], timeout: u64) -> Action {
        let (mut targets, mut processes, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for argument in handles {
            match self.behind(*argument) {
                Behind::Process(process) => processes.push(process),
                Behind::Thread(process) => threads.push(process),
                Behind::Other => targets.extend(handle(*argument).map(Target::Handle)),
            }
        }
        Action::Wait { targets, processes, threads, timeout: self.time(timeout) }
    }

    fn list(&self, address: u64, count: u64) -> Option<Vec<u64>> {
        (0..count.min(MAX_LIST)).map(|index| self.word(address + 8 * index)).collect()
    }

    /// Returns the handles that a new process inherits, by the flags and the attributes of `NtCreateUserProcess`.
    fn inherits(&self) -> Option<Inherits> {
        const INHERIT_HANDLES: u32 = 4;
        const HANDLE_LIST: u64 = 0x2_000b;
        if low(self.argument(6)?) & INHERIT_HANDLES == 0 {
            return Some(Inherits::Nothing);
        }
        let list = self.argument(10).filter(|list| *list != 0)?;
        let count = (self.word(list)?.saturating_sub(8) / 32).min(MAX_ATTRIBUTES);
        for attribute in (0..count).map(|index| list + 8 + 32 * index) {
            if self.word(attribute)? == HANDLE_LIST {
                let handles = self.list(self.word(attribute + 16)?, self.word(attribute + 8)? / 8)?;
                return Some(Inherits::Listed(handles.into_iter().filter_map(handle).collect()));
            }
        }
        None
    }

    fn duplicates(&self) -> Option<(Vec<Action>, u32)> {
        const CLOSE_SOURCE: u32 = 1;
        const SAME_ACCESS: u32 = 2;
        let [from, value, to, _] = self.registers.arguments();
        let options = low(self.argument(6)?);
        let from = self.process_behind(from)?;
        let value = handle(value);
        let mut actions = Vec::new();
        if let (Some(value), Some(to)) = (value, self.process_behind(to)) {
            let access = low(self.argument(4)?);
            let kind = self.processes.get(&from).and_then(|process| {
                let copy = duplicate_from(process.handle.handle(), value).ok()?;
                kind_of(copy.handle()).ok()
            });
            let access = (options & SAME_ACCESS == 0).then(|| words(kind.as_ref(), access));
            actions.push(Action::Duplicate { from, value, to, access });
        }
        if options & CLOSE_SOURCE != 0 {
            actions.extend(value.map(|value| Action::Close { handles: vec![value] }));
        }
        Some((actions, from))
    }
}

/// Returns the name of a pipe without the folder of pipes, in small letters; empty for one that has no name.
fn pipe_name(folder: u64, name: Option<&str>, half: Option<&HalfPipe>) -> Option<String> {
    let Some(name) = name else {
        return half.filter(|half| half.server == folder).map(|_| String::new());
    };
    let name = name.to_lowercase();
    PIPES.iter().find_map(|folder| name.strip_prefix(folder)).map(str::to_owned)
}

/// Describes the call that a thread begins; `half` is the process's pipe with one end.
pub(super) fn describe(
    at: &At<'_>,
    name: &'static str,
    function: Function,
    half: Option<&HalfPipe>,
) -> Option<Pending> {
    let [first, second, third, fourth] = at.registers.arguments();
    let call = |action| Call { function: name, action };
    let mut pending = Pending {
        calls: Vec::new(),
        stack: at.registers.stack(),
        answers: vec![first],
        half: None,
        source: None,
    };
    let of = |value: u64| handle(value).map(Target::Handle);
    let action = match function {
        Function::Create(kind) => {
            let (_, name, inheritable) = at.attributes(third);
            Action::Create { kind, name, inheritable }
        }
        Function::Open(kind) => {
            let (_, name, _) = at.attributes(third);
            let access = words(object_kind(kind).as_ref(), low(second));
            Action::Open { kind, name: name?, access, handle: None }
        }
        Function::CreatePipe => {
            let (_, name, inheritable) = at.attributes(third);
            let name = name.unwrap_or_default();
            let short = pipe_name(0, Some(&name), None).unwrap_or_default();
            if short.is_empty() || UNNAMED.iter().any(|part| short.starts_with(part)) {
                pending.half = Some(HalfPipe { server: 0, name: short, inheritable });
                return Some(pending);
            }
            Action::Create { kind: Kind::NamedPipe, name: Some(short), inheritable }
        }
        Function::OpenFile => {
            let (folder, name, inheritable) = at.attributes(third);
            let short = pipe_name(folder, name.as_deref(), half)?;
            if let Some(half) = half.filter(|half| half.name == short) {
                pending.half = Some(half.clone());
                let inheritable = inheritable || half.inheritable;
                let action = Action::Create { kind: Kind::Pipe, name: None, inheritable };
                pending.calls.push(Call { function: "CreatePipe", action });
                return Some(pending);
            }
            let access = words(Some(&ObjectKind::File), low(second));
            Action::Open { kind: Kind::NamedPipe, name: short, access, handle: None }
        }
        Function::Signal => Action::Signal { target: of(first)? },
        Function::Reset => Action::Reset { target: of(first)? },
        Function::Pulse => Action::Pulse { target: of(first)? },
        Function::Wait => at.wait(&[first], third),
        Function::WaitForSeveral => at.wait(&at.list(second, first & 0xffff_ffff)?, at.argument(4)?),
        Function::SignalAndWait => {
            pending.calls.extend(of(first).map(|target| call(Action::Signal { target })));
            at.wait(&[second], fourth)
        }
        Function::Delay => Action::Sleep { time: at.time(second)? },
        Function::Duplicate => {
            let (actions, from) = at.duplicates()?;
            pending.calls = actions.into_iter().map(call).collect();
            pending.answers = vec![fourth];
            pending.source = (from != at.process).then_some(from);
            return (!pending.calls.is_empty()).then_some(pending);
        }
        Function::SetFlags => {
            const HANDLE_FLAGS: u32 = 4;
            if low(second) != HANDLE_FLAGS {
                return None;
            }
            let [inherit, _] = at.read::<2>(third)?;
            Action::SetInheritable { handles: vec![handle(first)?], on: inherit != 0 }
        }
        Function::Spawn => {
            pending.answers = vec![first, second];
            Action::Spawn { inherits: at.inherits().unwrap_or(Inherits::Everything) }
        }
        Function::OpenProcess => {
            let access = words(Some(&ObjectKind::Process), low(second));
            Action::OpenProcess { process: u32::try_from(at.word(fourth)?).ok()?, access }
        }
        Function::Map => {
            if second != THIS_PROCESS {
                return None;
            }
            pending.answers = vec![third];
            Action::Map { handle: handle(first)? }
        }
        Function::Read => {
            pending.answers = vec![at.argument(4)?];
            let length = u64::from(low(at.argument(6)?));
            Action::Read { handle: handle(first)?, length, blocks: true }
        }
        Function::Write => {
            pending.answers = vec![at.argument(4)?];
            Action::Write { handle: handle(first)?, length: u64::from(low(at.argument(6)?)) }
        }
        Function::Close => Action::Close { handles: vec![handle(first)?] },
    };
    pending.calls.push(call(action));
    Some(pending)
}

/// Returns the kind by whose rights an access mask is shown.
fn object_kind(kind: Kind) -> Option<ObjectKind> {
    match kind {
        Kind::Event => Some(ObjectKind::Event),
        Kind::Semaphore => Some(ObjectKind::Semaphore),
        Kind::Mutex => Some(ObjectKind::Mutex),
        Kind::SharedMemory => Some(ObjectKind::SharedMemory),
        Kind::Timer => Some(ObjectKind::Timer),
        _ => None,
    }
}

/// Describes how a call has returned.
pub(super) fn returned(at: &At<'_>, pending: Pending) -> Returned {
    /// `STATUS_BUFFER_OVERFLOW`: a part of a message was read.
    const PART: i32 = -0x7fff_fffb;
    let status = i32::from_ne_bytes(low(at.registers.result()).to_ne_bytes());
    let Pending { calls, answers, half, source, .. } = pending;
    let answer = |index: usize| answers.get(index).and_then(|address| at.word(*address));
    let mut returned = Returned { steps: Vec::new(), closed: None, half: None };
    if let Some(half) = &half {
        if status >= 0 && half.server == 0 {
            returned.half = answer(0).map(|server| HalfPipe { server, ..half.clone() });
        }
    }
    for call in calls {
        let outcome = match &call.action {
            _ if status < 0 && !(status == PART && matches!(call.action, Action::Read { .. })) => {
                Outcome::Failed(error_of(status))
            }
            Action::Create { .. } => {
                opened([half.as_ref().map(|half| half.server).filter(|server| *server != 0), answer(0)])
            }
            Action::Open { .. } | Action::OpenProcess { .. } | Action::Duplicate { .. } => {
                opened([answer(0)])
            }
            Action::Spawn { .. } => opened([answer(0), answer(1)]),
            Action::Map { .. } => Outcome::Mapped(answer(0).unwrap_or_default()),
            Action::Wait { .. } => waited(status),
            // The number of bytes is the second word of an `IO_STATUS_BLOCK`.
            Action::Read { .. } | Action::Write { .. } => {
                let bytes = answers.first().and_then(|address| at.word(address + 8)).unwrap_or_default();
                /// `STATUS_PENDING`: an overlapped transfer goes on.
                const PENDING: i32 = 0x103;
                Outcome::Done(if status == PENDING { 0 } else { i64::from(low(bytes)) })
            }
            _ => Outcome::Done(0),
        };
        // A handle that a duplication closes can be in another process.
        if let (Action::Close { handles }, Some(source)) = (&call.action, source) {
            returned.closed = handles.first().map(|value| (source, *value));
            continue;
        }
        returned.steps.push((call, outcome));
    }
    returned
}

fn opened<const N: usize>(handles: [Option<u64>; N]) -> Outcome {
    Outcome::Opened(handles.into_iter().flatten().filter_map(handle).collect())
}

/// Returns the outcome of a wait that didn't fail.
fn waited(status: i32) -> Outcome {
    match status {
        // The index of the object, or of a mutex whose owner has exited.
        0..0x40 | 0x80..0xc0 => Outcome::Signaled,
        0x102 => Outcome::TimedOut,
        // Other code ran on the thread meanwhile, and the wait has ended without a result.
        _ => Outcome::Done(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_waits_are_signals_timeouts_or_neither() {
        for status in [0, 1, 0x3f, 0x80, 0xbf] {
            assert_eq!(waited(status), Outcome::Signaled, "{status:#x}");
        }
        assert_eq!(waited(0x102), Outcome::TimedOut);
        for status in [0xc0, 0x101, 0x103] {
            assert_eq!(waited(status), Outcome::Done(0), "{status:#x}");
        }
    }

    #[test]
    fn pipes_are_known_by_their_folder() {
        let half = HalfPipe { server: 0x44, name: String::new(), inheritable: false };
        let name = |folder, name| pipe_name(folder, name, Some(&half));
        assert_eq!(name(0, Some("\\??\\PIPE\\Ready")), Some("ready".into()));
        assert_eq!(name(0, Some("\\Device\\NamedPipe\\ready")), Some("ready".into()));
        assert_eq!(name(0, Some("\\??\\C:\\pipe\\ready")), None);
        assert_eq!(name(0x44, None), Some(String::new()));
        assert_eq!(name(0x48, None), None);
    }

    #[test]
    fn tag_bits_and_upper_bits_are_not_part_of_a_handle() {
        assert_eq!(handle(0x47), handle(0x44));
        assert_eq!(handle(0xffff_ffff_0000_0044), handle(0x44));
        for pseudo in [THIS_PROCESS, THIS_THREAD, 0, 3] {
            assert_eq!(handle(pseudo), None, "{pseudo:#x}");
        }
    }
}
