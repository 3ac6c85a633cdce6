//! Users, and security descriptors for new objects.

use std::ffi::{OsStr, c_void};
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, SID_AND_ATTRIBUTES,
    TOKEN_APPCONTAINER_INFORMATION, TOKEN_INFORMATION_CLASS, TOKEN_QUERY, TOKEN_USER, TokenAppContainerSid,
    TokenIsAppContainer, TokenUser,
};
use windows_sys::Win32::System::Threading::OpenProcessToken;

use super::io::Owned;
use super::process::current;
use super::text::wide;
use super::{Answered, Argument, SysResult, ask, call, size_of_u32, succeeded};

/// Returns the security identifier (SID) of the user that a process runs as, in the usual notation `S-1-5-21-…`.
pub(crate) fn of_process(process: BorrowedHandle<'_>) -> SysResult<String> {
    let mut buffer = [0_u64; 32];
    ask_token(process, TokenUser, "user", &mut buffer)?;
    // SAFETY: the successful call has written a `TOKEN_USER` to the start of the buffer, which is large enough and
    // aligned for it.
    let TOKEN_USER { User: SID_AND_ATTRIBUTES { Sid: sid, .. } } =
        unsafe { buffer.as_ptr().cast::<TOKEN_USER>().read() };
    // SAFETY: `sid` points to the SID in `buffer`, which is alive and unchanged since the call that filled it.
    unsafe { text_of(sid) }
}

/// Returns the SID of the package whose app container this process runs in, or `None` outside of one.
pub(crate) fn package() -> SysResult<Option<&'static str>> {
    static PACKAGE: OnceLock<Option<String>> = OnceLock::new();
    if let Some(package) = PACKAGE.get() {
        return Ok(package.as_deref());
    }
    let mut buffer = [0_u64; 32];
    // Asked first, because Wine 10 fails to tell a 32-bit process that it has no package (error 998).
    let is_contained = match ask_token(current(), TokenIsAppContainer, "is contained", &mut buffer) {
        Ok(()) => buffer[0] != 0,
        // Windows 7 has no app containers.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => false,
        Err(error) => return Err(error),
    };
    if !is_contained {
        return Ok(PACKAGE.get_or_init(|| None).as_deref());
    }
    ask_token(current(), TokenAppContainerSid, "package", &mut buffer)?;
    // SAFETY: the successful call has written a `TOKEN_APPCONTAINER_INFORMATION` to the start of the buffer, which is
    // large enough and aligned for it.
    let TOKEN_APPCONTAINER_INFORMATION { TokenAppContainer: sid } =
        unsafe { buffer.as_ptr().cast::<TOKEN_APPCONTAINER_INFORMATION>().read() };
    let package = if sid.is_null() {
        None
    } else {
        // SAFETY: `sid` isn't null, and points to the SID in `buffer`, which is alive and unchanged since the call that
        // filled it.
        Some(unsafe { text_of(sid) }?)
    };
    Ok(PACKAGE.get_or_init(|| package).as_deref())
}

/// Asks the token of a process for one kind of information. The elements of the buffer are `u64` for the alignment of the
/// structure at the front. A SID has at most 68 bytes.
fn ask_token(
    process: BorrowedHandle<'_>,
    class: TOKEN_INFORMATION_CLASS,
    what: &'static str,
    buffer: &mut [u64; 32],
) -> SysResult<()> {
    let arguments = [("", Argument::Process(process)), ("access", Argument::Flags(TOKEN_QUERY))];
    let token = call("OpenProcessToken", &arguments, || {
        let mut token = null_mut();
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. `token` is a live
        // variable for the answer.
        let answer = unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut token) };
        succeeded(answer)?;
        // SAFETY: the successful call has just opened this handle for this process, and `token` is its only copy, so
        // no other owner exists.
        Ok(Owned::from(unsafe { OwnedHandle::from_raw_handle(token) }))
    })?;
    let mut length = 0;
    ask("GetTokenInformation", &[("token", (&token).into()), (what, Argument::Yes)], || {
        // SAFETY: the token is open, because this function owns it. The buffer is live and writable, the call writes
        // at most its given size, and `length` is a live variable.
        let answer = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                class,
                buffer.as_mut_ptr().cast(),
                size_of_u32::<[u64; 32]>(),
                &raw mut length,
            )
        };
        succeeded(answer)
    })
}

/// Returns a SID in the usual notation.
///
/// # Safety
///
/// The pointer must refer to a SID that lives during the call.
unsafe fn text_of(sid: PSID) -> SysResult<String> {
    ask("ConvertSidToStringSidW", &[], || {
        let mut text = null_mut();
        // SAFETY: the caller guarantees that `sid` points to a live SID. `text` is a live variable for the answer.
        let answer = unsafe { ConvertSidToStringSidW(sid, &raw mut text) };
        succeeded(answer)?;
        let text = Local(text.cast());
        let mut units = Vec::new();
        loop {
            // SAFETY: the text ends with NUL. The loop stops there, so this unit is within the text, which `text`
            // keeps allocated.
            let unit = unsafe { text.0.cast::<u16>().wrapping_add(units.len()).read() };
            if unit == 0 {
                return String::from_utf16(&units).map_err(io::Error::other);
            }
            units.push(unit);
        }
    })
}

/// Memory that the system allocated with `LocalAlloc` for this process.
#[derive(Debug)]
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the calls that returned this memory are documented to leave it to the caller to free it with
        // `LocalFree`. This object is its only owner and isn't used after its drop.
        unsafe { LocalFree(self.0) };
    }
}

/// The security descriptor of a new object.
#[derive(Debug)]
pub(crate) struct Protection(Local);

// SAFETY: the descriptor is heap memory that belongs to the process, not to a thread, so any thread may use and free
// it.
unsafe impl Send for Protection {}
// SAFETY: the descriptor is never changed after its creation, so several threads may read it at the same time.
unsafe impl Sync for Protection {}

impl Protection {
    /// Creates a security descriptor from its definition in SDDL.
    pub(crate) fn from_sddl(text: &str) -> SysResult<Self> {
        let units = wide(OsStr::new(text));
        ask("ConvertStringSecurityDescriptorToSecurityDescriptorW", &[("text", text.into())], || {
            let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
            // SAFETY: the text ends with NUL and lives during the call. `descriptor` is a live variable for the
            // answer, and the size is optional and null.
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

    /// Returns the attributes for the calls that create objects. They point to the descriptor, so they are valid only
    /// as long as `self`.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of_u32::<SECURITY_ATTRIBUTES>(),
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}
