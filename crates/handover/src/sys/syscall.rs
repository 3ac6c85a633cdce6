//! The one place through which each system call is made: where tests let it fail, and from where it is traced.

use std::io;

use super::call_info::{Arguments, Outcome};
use super::error::{SysError, SysResult};
use super::fault;

/// Makes a call that does something. Tests can let it fail, and then it isn't made.
#[inline(always)]
pub(crate) fn call<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    always(name, arguments, || fault(name).and_then(|()| make()))
}

/// Makes a call that only asks, and changes no handle table. Tests can let it fail.
#[inline(always)]
pub(crate) fn ask<T: Outcome>(
    name: &'static str,
    arguments: &Arguments<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> SysResult<T> {
    always_ask(name, arguments, || fault(name).and_then(|()| make()))
}

/// Makes a call that does something and that no test lets fail: one that cleans up must be made in any case.
#[inline(always)]
#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "the arguments are only told"))]
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
    outcome.map_err(SysError::of(name))
}

/// Makes several calls that subscribers see as one. Each of them can fail for a test, and the error names the one that did.
#[inline(always)]
#[allow(dead_code, reason = "only Linux makes a process by several calls")]
#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "only the event has the arguments"))]
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

/// Makes a call that only asks, and that no test lets fail.
#[inline(always)]
#[cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "the arguments are only told"))]
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
    outcome.map_err(SysError::of(name))
}
