//! Prints each system call that the exercise is about, as one line: `parent 32 SetEvent(event 0x30) = ok`.
//!
//! The lines are made from the library's tracing events, so they show the calls that were made. Of those, a program
//! prints the calls that create, share, signal, await or close the event, and those that start the child and wait for
//! it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Prints the calls of this process from now on, each behind the role and the process id.
pub(crate) fn print_as(role: &'static str) {
    let file = std::env::current_exe().ok();
    let folder = file.and_then(|file| file.parent().map(|folder| format!("{folder:?}"))).unwrap_or_default();
    // Paths in the events are quoted and escaped as this one is.
    let folder = folder.trim_matches('"').to_owned();
    let printer = Printer { role, folder, followed: Mutex::default() };
    tracing::subscriber::set_global_default(printer).expect("a program runs its steps once");
}

struct Printer {
    role: &'static str,
    /// The folder of this program, which is left out of paths to keep the lines short.
    folder: String,
    /// The values of this process's handles to the event and to the child.
    followed: Mutex<BTreeSet<String>>,
}

/// One call, as the library's event describes it (docs/tracing.md).
#[derive(Default)]
struct Call {
    name: String,
    arguments: String,
    result: String,
    failed: bool,
    effects: String,
}

impl Call {
    /// Returns the first handle that the call opened in this process.
    fn opened(&self) -> Option<&str> {
        let opened = self.effects.split(' ').filter_map(|effect| effect.strip_prefix('+'));
        opened.filter_map(|effect| effect.split('=').next()).find(|handle| !handle.contains('@'))
    }

    fn closed(&self) -> Option<&str> {
        self.effects.split(' ').find_map(|effect| effect.strip_prefix('-'))
    }

    /// Returns the first handle among the arguments that is in the set.
    fn handle_in(&self, handles: &BTreeSet<String>) -> Option<&str> {
        let words = self.arguments.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.into_iter().find(|word| handles.contains(*word))
    }

    /// Returns the handle that the call keeps from being inherited any further. The library makes this call for a
    /// handle that was inherited, or received as a number, before it becomes the owner.
    fn adopted(&self) -> Option<&str> {
        let rest = self.arguments.strip_prefix("handle ")?;
        let (handle, flag) = rest.split_once(", ")?;
        ["not inheritable", "F_SETFD FD_CLOEXEC"].contains(&flag).then_some(handle)
    }

    /// Returns whether the call is a step of the exercise. The names of both systems are in one list.
    fn is_step(&self, followed: &BTreeSet<String>) -> bool {
        match self.name.as_str() {
            // The first event is the exercise's. On Linux, the library creates another one when it serves a name.
            "CreateEventW" | "eventfd2" => followed.is_empty(),
            "OpenEventW" | "bind" | "connect" => true,
            "CreateProcessW" | "clone+execve" | "GetExitCodeProcess" | "waitid" => true,
            "TerminateProcess" => true,
            // Signal 0 only asks whether the process exists.
            "pidfd_send_signal" => !self.arguments.ends_with("signal 0"),
            "SetHandleInformation" | "fcntl" => self.adopted().is_some(),
            "WriteFile" | "ReadFile" | "sendmsg" => true,
            "recvmsg" => self.opened().is_some(),
            "DuplicateHandle" | "SetEvent" | "write" => self.handle_in(followed).is_some(),
            "WaitForSingleObject" | "ppoll" => self.handle_in(followed).is_some(),
            "CloseHandle" | "close" => self.handle_in(followed).is_some(),
            _ => false,
        }
    }

    /// Formats the call, with the folder left out of paths.
    fn line(&self, folder: &str) -> String {
        let arguments = match folder {
            "" => self.arguments.clone(),
            folder => self.arguments.replace(folder, "…"),
        };
        let sign = if self.failed { "failed:" } else { "=" };
        let line = format!("{}({arguments}) {sign} {}", self.name, self.result);
        match self.opened() {
            // The result is the length of the message. The message carried the handle.
            Some(handle) if self.name == "recvmsg" => format!("{line}, handle {handle}"),
            _ => line,
        }
    }
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "handover::call"
    }

    fn event(&self, event: &Event<'_>) {
        // The library's own threads serve names and reap children. Their calls are no steps.
        if std::thread::current().name().is_some_and(|name| name.starts_with("handover")) {
            return;
        }
        let mut call = Call::default();
        event.record(&mut call);
        // A set of texts can't be left half changed by a panic.
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_step = call.is_step(&followed);
        if is_step {
            followed.extend(call.opened().or(call.adopted()).map(str::to_owned));
        }
        if let Some(handle) = call.closed() {
            followed.remove(handle);
        }
        drop(followed);
        if is_step {
            // One write, because parent and child may share a terminal. The steps go on if nothing reads the output.
            let line = format!("{} {} {}\n", self.role, std::process::id(), call.line(&self.folder));
            let mut output = io::stdout().lock();
            let _ = output.write_all(line.as_bytes());
            let _ = output.flush();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Call {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "failed" {
            self.failed = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "call" => &mut self.name,
            "arguments" => &mut self.arguments,
            "result" => &mut self.result,
            "effects" => &mut self.effects,
            _ => return,
        };
        *text = format!("{value:?}");
    }
}
