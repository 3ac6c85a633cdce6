//! The single path to every system call. Tests inject failures here, and each call is traced from here.

use std::io;

use super::call_info::{Arguments, Outcome};
use super::error::{SysError, SysResult};
#[cfg(feature = "faults")]
use super::fault;

/// Makes a call that changes something. Tests can inject a failure; then the call isn't made.
#[inline(always)]
pub(crate) fn call<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    #[cfg(feature = "faults")]
    let make = || fault(name).and_then(|()| make());
    always(name, arguments, make)
}

/// Makes a call that only queries and changes no handle table. Tests can inject a failure.
#[inline(always)]
pub(crate) fn ask<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    #[cfg(feature = "faults")]
    let make = || fault(name).and_then(|()| make());
    always_ask(name, arguments, make)
}

/// Makes a call that changes something and in which tests can't inject a failure. This is for cleanup, which must
/// always run.
#[inline(always)]
#[cfg_attr(
    not(feature = "tracing"),
    allow(unused_variables, reason = "the arguments are used by tracing only")
)]
pub(crate) fn always<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    #[cfg(feature = "tracing")]
    let began = super::trace_event::begins();
    let outcome = make();
    #[cfg(feature = "tracing")]
    super::trace_event::done(name, arguments, began, outcome.as_ref().map(|outcome| outcome as &dyn Outcome));
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(source) => Err(SysError { call: name, source }),
    }
}

/// Makes several calls that subscribers see as one event. Tests can inject a failure in each of them, and the error
/// names the call that failed.
#[inline(always)]
#[allow(dead_code, reason = "only Linux starts a process by several calls")]
#[cfg_attr(
    not(feature = "tracing"),
    allow(unused_variables, reason = "the arguments are used by tracing only")
)]
pub(crate) fn composed<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> SysResult<T>,
) -> SysResult<T> {
    #[cfg(feature = "tracing")]
    let began = super::trace_event::begins();
    let outcome = make();
    #[cfg(feature = "tracing")]
    {
        let outcome = outcome.as_ref().map(|outcome| outcome as &dyn Outcome).map_err(|error| &error.source);
        super::trace_event::done(name, arguments, began, outcome);
    }
    outcome
}

/// Makes a call that only queries and in which tests can't inject a failure.
#[inline(always)]
#[cfg_attr(
    not(feature = "tracing"),
    allow(unused_variables, reason = "the arguments are used by tracing only")
)]
pub(crate) fn always_ask<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    #[cfg(feature = "tracing")]
    let began = super::trace_event::begins();
    let outcome = make();
    #[cfg(feature = "tracing")]
    super::trace_event::asked(
        name,
        arguments,
        began,
        outcome.as_ref().map(|outcome| outcome as &dyn Outcome),
    );
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(source) => Err(SysError { call: name, source }),
    }
}
