//! The texts that are replaced in std's tests, and the tests whose result differs.

use super::System;

/// The texts that are replaced in std's tests and examples, in this order. The first two are the whole change of a
/// program; the others stand for names that only std's own tests can use.
pub(crate) const REPLACEMENTS: [(&str, &str); 19] = [
    ("std::process", "handover::process"),
    ("use std::{env, fs, process, str};", "use std::{env, fs, str};\nuse handover::process;"),
    ("use std::{env, process};", "use std::env;\nuse handover::process;"),
    // Imports of std's crate and of the module that a file of tests belongs to.
    ("crate::process", "handover::process"),
    ("crate::test_helpers::", "std_tests::"),
    ("common::tmpdir()", "std_tests::tmpdir()"),
    ("mod common;", ""),
    ("use super::{Command, Output, Stdio};", "use handover::process::{Command, Output, Stdio};"),
    ("use crate::io::{BorrowedBuf, ErrorKind};", "use std::io::ErrorKind;"),
    // std's methods for Unix are inherent here, so the trait isn't needed, but it can't be named either.
    ("crate::os::unix::process::CommandExt::arg0(", "Command::arg0("),
    ("use crate::sys::{cvt, cvt_nz};", "use std_tests::{cvt, cvt_nz};"),
    ("use super::*;", "use handover::process::{Command, Stdio};\nuse libc::{sigaddset, sigemptyset};"),
    ("use super::child_pipe::{Pipes, child_pipe};", ""),
    ("use super::{Arg, make_command_line};", ""),
    // Wine has no help.exe.
    ("Command::new(\"help\")", "Command::new(\"whoami\")"),
    // The tests of `sys` call the parts that std's `Command` is made of.
    ("Stdio::MakePipe", "Stdio::piped()"),
    ("cmd.spawn(Stdio::Null, true)", "std_tests::spawn(&mut cmd)"),
    ("cmd.pgroup(", "cmd.process_group("),
    ("crate::", "std::"),
];

/// How the result of a test is expected to differ from std's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Expected {
    Differs(Difference),
    /// It isn't run, because it needs this unstable feature of std.
    Unstable(&'static str),
    /// It isn't run, because it calls a function that is private to std.
    Private(&'static str),
}

/// A difference of the library from std that makes tests fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    /// The first cell of the row of `crates/handover/docs/command.md` that describes it.
    pub(crate) row: &'static str,
    /// A part of the output of a test that fails because of it.
    pub(crate) output: &'static str,
}

use Expected::{Differs, Private, Unstable};

const PRE_EXEC: Difference =
    Difference { row: "on Linux `pre_exec`", output: "failed to get command status" };
const DEBUG: Difference = Difference { row: "`Command: Debug`", output: "create_pidfd: false" };
const ERROR: Difference =
    Difference { row: "the error `io::Error`", output: "expected `std::io::Error`, found `handover::Error`" };
const BATCH_FILES: Difference = Difference { row: "batch files", output: "cmd.exe" };

/// The tests whose result is expected to differ, by name. Every other test must pass, and each one here must exist and
/// differ.
const ON_BOTH: [(&str, Expected); 1] = [("process::tests::child_stdout_read_buf", Unstable("read_buf"))];

const ON_LINUX: [(&str, Expected); 8] = [
    ("process::tests::debug_print", Differs(DEBUG)),
    ("sys::unix::common::tests::test_setsid_posix_spawn", Unstable("process_setsid")),
    ("sys::unix::common::tests::test_setsid_no_posix_spawn", Unstable("process_setsid")),
    ("sys::unix::common::tests::test_program_kind", Private("ProgramKind")),
    ("sys::unix::common::tests::unix_exit_statuses", Unstable("exit_status_error")),
    ("sys::unix::tests::test_command_fork_no_unwind", Differs(PRE_EXEC)),
    ("sys::linux::pidfd::tests::test_command_pidfd", Unstable("linux_pidfd")),
    ("sys::linux::pidfd::tests::test_pidfd", Unstable("linux_pidfd")),
];

const ON_WINDOWS: [(&str, Expected); 8] = [
    ("os::windows::process::CommandExt::raw_arg (2)", Differs(ERROR)),
    ("process::tests::run_bat_script", Differs(BATCH_FILES)),
    ("process::tests::run_canonical_bat_script", Differs(BATCH_FILES)),
    ("sys::windows::tests::test_raw_args", Private("make_command_line")),
    ("sys::windows::tests::test_thread_handle", Unstable("windows_process_extensions_main_thread_handle")),
    ("sys::windows::tests::test_make_command_line", Private("make_command_line")),
    ("sys::windows::tests::windows_exe_resolver", Private("resolve_exe")),
    ("sys::windows::tests::overlapped_handle_fallback", Private("child_pipe")),
];

/// Returns the tests whose result is expected to differ on a system.
pub(crate) fn expected(system: System) -> Vec<(&'static str, Expected)> {
    let own = if system == System::Linux { ON_LINUX.as_slice() } else { ON_WINDOWS.as_slice() };
    [&ON_BOTH, own].concat()
}
