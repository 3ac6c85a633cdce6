//! The functions of ntdll through which programs call the kernel, and the breakpoints in them.
//!
//! Each function begins with `mov r10, rcx` and ends with `ret` right after the system call. A breakpoint replaces the first
//! byte of each of these instructions and stays there until the process exits: the tracer executes the displaced
//! instruction itself, by changing the thread's registers. So no other thread can pass while a breakpoint is lifted, no
//! thread has to be stepped, and all calls of all threads are seen, whichever code makes them.

use std::ffi::CStr;

use super::calls::{FUNCTIONS, Function};
use crate::sys::io::BorrowedHandle;
use crate::sys::process::current;
use crate::sys::tracee::{function_of_ntdll, write};
use crate::sys::{SysError, SysResult, peb};

/// The length of `mov r10, rcx`.
const MOV: usize = 3;
/// At least as long as each function, and at most as long as the distance between two of them.
const LENGTH: usize = 32;
const BREAKPOINT: u8 = 0xcc;

/// A function that is followed.
#[derive(Debug)]
struct Thunk {
    name: &'static str,
    function: Function,
    address: usize,
    code: [u8; LENGTH],
    /// The offsets of its `ret` instructions.
    returns: Vec<usize>,
}

/// A breakpoint that a thread has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// The begin of a function, after whose first instruction the thread goes on at `next`.
    Entry { name: &'static str, function: Function, next: usize },
    /// The end of a function. The thread goes on at `next`, another `ret` without a breakpoint. So the processor itself
    /// returns, and its shadow stack stays right.
    Return { next: usize },
}

/// All functions that are followed. Their addresses are the same in each process of this width.
#[derive(Debug)]
pub(super) struct Thunks {
    thunks: Vec<Thunk>,
    /// A `ret` in a function that isn't followed.
    plain_return: usize,
}

impl Thunks {
    /// Finds the functions in this process.
    pub(super) fn find() -> SysResult<Self> {
        let mut thunks = Vec::with_capacity(FUNCTIONS.len());
        for (name, function) in FUNCTIONS {
            // Older systems lack some functions.
            thunks.extend(thunk(name, *function)?);
        }
        const PLAIN: &CStr = c"NtYieldExecution";
        let plain = thunk(PLAIN, Function::Close)?.ok_or_else(|| missing("it has no NtYieldExecution"))?;
        Ok(Self { thunks, plain_return: plain.address + plain.returns[0] })
    }

    /// Sets the breakpoints in a stopped process. Returns whether all functions there are those of this process; if one isn't,
    /// nothing is changed.
    pub(super) fn set(&self, process: BorrowedHandle<'_>) -> SysResult<bool> {
        for thunk in &self.thunks {
            let mut code = [0; LENGTH];
            peb::memory(process, thunk.address, &mut code)?;
            if code != thunk.code {
                return Ok(false);
            }
        }
        for thunk in &self.thunks {
            let mut code = thunk.code;
            code[0] = BREAKPOINT;
            for at in &thunk.returns {
                code[*at] = BREAKPOINT;
            }
            write(process, thunk.address, &code[..=thunk.returns[thunk.returns.len() - 1]])?;
        }
        Ok(true)
    }

    /// Returns the breakpoint at an address.
    pub(super) fn site(&self, address: usize) -> Option<Site> {
        let is_in = |thunk: &&Thunk| (thunk.address..thunk.address + LENGTH).contains(&address);
        let thunk = self.thunks.iter().find(is_in)?;
        let at = address - thunk.address;
        if at == 0 {
            let next = address + MOV;
            return Some(Site::Entry { name: thunk.name, function: thunk.function, next });
        }
        thunk.returns.contains(&at).then_some(Site::Return { next: self.plain_return })
    }
}

fn missing(what: &'static str) -> SysError {
    SysError::unexpected("GetProcAddress", what)
}

/// Reads a function of this process, if the system has it.
fn thunk(name: &'static CStr, function: Function) -> SysResult<Option<Thunk>> {
    let Some(address) = function_of_ntdll(name)? else { return Ok(None) };
    let mut code = [0; LENGTH];
    peb::memory(current(), address, &mut code)?;
    let returns = returns(&code).ok_or_else(|| {
        missing(
            "a function of ntdll doesn't begin as the system's own does; another program, such as a virus scanner, has \
             changed it",
        )
    })?;
    Ok(Some(Thunk { name: name.to_str().unwrap_or_default(), function, address, code, returns }))
}

/// Returns the offsets of the `ret` instructions of a function, or `None` if it has other instructions than such functions
/// have. The last call in each is `int 0x2e`, for machines without `syscall`; in Wine it is an indirect call.
fn returns(code: &[u8; LENGTH]) -> Option<Vec<usize>> {
    // mov r10, rcx; mov eax, number
    if code[..4] != [0x4c, 0x8b, 0xd1, 0xb8] {
        return None;
    }
    let mut returns = Vec::new();
    let mut is_last = false;
    let mut at = 8;
    loop {
        at += match code.get(at..)? {
            // test byte ptr [address], 1
            [0xf6, 0x04, 0x25, ..] => 8,
            // jne
            [0x75, _, ..] => 2,
            // syscall
            [0x0f, 0x05, ..] => 2,
            // jmp over one byte
            [0xeb, 0x01, ..] => 2,
            // int 0x2e
            [0xcd, 0x2e, ..] => {
                is_last = true;
                2
            }
            // call [address]
            [0xff, 0x14, 0x25, ..] => {
                is_last = true;
                7
            }
            [0xc3, ..] => {
                returns.push(at);
                if is_last {
                    return Some(returns);
                }
                1
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: &str = "4c8bd1b855000000f604250803fe7f0175030f05c3cd2ec30f1f840000000000";
    const WINE: &str = "4c8bd1b815000000f604250803fe7f0175030f05c3eb01c3ff14250010fe7fc3";
    /// `jmp` to another module, as virus scanners write it.
    const HOOKED: &str = "e9fb2f8000cccccccccccccccccccc0175030f05c3cd2ec30f1f840000000000";

    fn code(digits: &str) -> [u8; LENGTH] {
        let byte = |at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits");
        std::array::from_fn(byte)
    }

    #[test]
    fn returns_are_found_in_the_functions_of_windows_and_of_wine() {
        assert_eq!(returns(&code(WINDOWS)), Some(vec![20, 23]));
        assert_eq!(returns(&code(WINE)), Some(vec![20, 23, 31]));
        assert_eq!(returns(&code(HOOKED)), None);
    }

    #[test]
    fn function_that_was_changed_in_its_middle_is_refused() {
        for at in [0, 3, 8, 16, 18, 20, 21] {
            let mut changed = code(WINDOWS);
            changed[at] = 0x90;
            assert_eq!(returns(&changed), None, "{at}");
        }
        // Without a last `ret`, the code doesn't end.
        let mut endless = code(WINE);
        endless[31] = 0x90;
        assert_eq!(returns(&endless), None);
    }

    #[test]
    fn each_breakpoint_of_this_process_is_a_site() -> std::io::Result<()> {
        let thunks = Thunks::find()?;
        assert!(thunks.thunks.len() > 20, "{thunks:#x?}");
        for thunk in &thunks.thunks {
            assert!(
                matches!(thunks.site(thunk.address), Some(Site::Entry { name, .. }) if name == thunk.name)
            );
            assert_eq!(thunks.site(thunk.address + 1), None);
            for at in &thunk.returns {
                let next = thunks.plain_return;
                assert_eq!(thunks.site(thunk.address + at), Some(Site::Return { next }));
            }
        }
        assert_eq!(thunks.site(thunks.plain_return), None);
        Ok(())
    }
}
