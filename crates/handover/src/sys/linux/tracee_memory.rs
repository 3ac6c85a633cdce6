//! Reads the memory of a traced process.

use std::io;

use super::SysResult;
use super::{Argument, Length, ask};

/// Reads memory of a process from this address on, and returns the bytes that are readable, at most `length`.
pub(crate) fn read(process: u32, address: u64, length: usize) -> SysResult<Vec<u8>> {
    let arguments =
        [("process", Argument::ProcessId(process)), ("address", address.into()), ("length", length.into())];
    let mut bytes = vec![0; length];
    let read = ask("process_vm_readv", &arguments, || {
        let id = libc::pid_t::try_from(process).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        let address = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
        let own = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let other = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length };
        // SAFETY: `own` describes a live buffer of this process, which the call fills. `other` is an address in the
        // other process, which the kernel checks. Both lists have one element.
        let read = unsafe { libc::process_vm_readv(id, &raw const own, 1, &raw const other, 1, 0) };
        usize::try_from(read).map(Length).map_err(|_| io::Error::last_os_error())
    })?;
    bytes.truncate(read.0);
    Ok(bytes)
}
