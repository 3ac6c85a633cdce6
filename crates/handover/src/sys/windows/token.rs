//! Users, and objects that are for one user alone.

use std::ffi::{OsStr, c_void};
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, SID_AND_ATTRIBUTES, TOKEN_QUERY,
    TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::OpenProcessToken;

use super::io::Owned;
use super::text::wide;
use super::{Answered, Argument, SysResult, ask, call, size_of_u32, succeeded};

/// The security identifier of the user that a process runs as, in its usual spelling: `S-1-5-21-…`.
pub(crate) fn of_process(process: BorrowedHandle<'_>) -> SysResult<String> {
    let arguments = [("", Argument::Process(process)), ("access", Argument::Flags(TOKEN_QUERY))];
    let token = call("OpenProcessToken", &arguments, || {
        let mut token = null_mut();
        // SAFETY: the handle is borrowed, so it is open; `token` is a live place for the answer.
        let answer = unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut token) };
        succeeded(answer)?;
        // SAFETY: the handle was made for us just now.
        Ok(Owned::from(unsafe { OwnedHandle::from_raw_handle(token) }))
    })?;

    // Of u64, so that the structure in front is aligned. The longest identifier has 68 bytes.
    let mut buffer = [0_u64; 32];
    let mut length = 0;
    ask("GetTokenInformation", &[("token", (&token).into()), ("user", Argument::Yes)], || {
        // SAFETY: the token is open, and the call writes no more to the buffer than the size given with it.
        let answer = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenUser,
                buffer.as_mut_ptr().cast(),
                size_of_u32::<[u64; 32]>(),
                &raw mut length,
            )
        };
        succeeded(answer)
    })?;
    // SAFETY: the call has put this structure at the start of the buffer, which is large and aligned enough
    // for it.
    let TOKEN_USER { User: SID_AND_ATTRIBUTES { Sid: sid, .. } } =
        unsafe { buffer.as_ptr().cast::<TOKEN_USER>().read() };

    ask("ConvertSidToStringSidW", &[], || {
        let mut text = null_mut();
        // SAFETY: the identifier is in the buffer, which lives on; `text` is a live place for the answer.
        let answer = unsafe { ConvertSidToStringSidW(sid, &raw mut text) };
        succeeded(answer)?;
        let text = Local(text.cast());
        let mut units = Vec::new();
        loop {
            // SAFETY: the text ends with NUL, behind which nothing is read.
            let unit = unsafe { text.0.cast::<u16>().wrapping_add(units.len()).read() };
            if unit == 0 {
                return String::from_utf16(&units).map_err(io::Error::other);
            }
            units.push(unit);
        }
    })
}

/// Memory that the system has allocated for us.
#[derive(Debug)]
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the memory is ours, by the documentation of the call that gave it, and nobody uses it any
        // more.
        unsafe { LocalFree(self.0) };
    }
}

/// What a new object is protected with.
#[derive(Debug)]
pub(crate) struct Protection(Local);

// SAFETY: the descriptor is never changed, and freed by whoever has it last.
unsafe impl Send for Protection {}
// SAFETY: likewise.
unsafe impl Sync for Protection {}

impl Protection {
    /// From a text of the security descriptor definition language.
    pub(crate) fn from_sddl(text: &str) -> SysResult<Self> {
        let units = wide(OsStr::new(text));
        ask("ConvertStringSecurityDescriptorToSecurityDescriptorW", &[("text", text.into())], || {
            let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
            // SAFETY: the text ends with NUL; `descriptor` is a live place for the answer; its size isn't
            // asked for.
            let answer = unsafe {
                ConvertStringSecurityDescriptorToSecurityDescriptorW(
                    units.as_ptr(),
                    SDDL_REVISION_1,
                    &raw mut descriptor,
                    null_mut(),
                )
            };
            succeeded(answer)?;
            Ok(Answered(Self(Local(descriptor))))
        })
        .map(|Answered(protection)| protection)
    }

    /// As the calls that create objects take it, for as long as this lives.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of_u32::<SECURITY_ATTRIBUTES>(),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}
