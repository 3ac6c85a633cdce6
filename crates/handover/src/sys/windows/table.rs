//! Handle tables, from the system's list of all handles.

use std::io;
use std::ptr::null_mut;

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SYSTEM_INFORMATION_CLASS};
use windows_sys::Win32::Foundation::STATUS_INFO_LENGTH_MISMATCH;

use super::grow_buffer::with_room;
use super::{Argument, SysError, SysResult, ask};
use crate::handle::{Access, HandleValue};

/// An information class that windows-sys doesn't define. The older class has only 16 bits for a process id.
const SYSTEM_EXTENDED_HANDLE_INFORMATION: SYSTEM_INFORMATION_CLASS = 64;

/// The attributes `OBJ_PROTECT_CLOSE` and `OBJ_INHERIT` of a handle.
const OBJ_PROTECT_CLOSE: u32 = 1;
const OBJ_INHERIT: u32 = 2;

/// The native `SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX`. The list of these entries follows two words, the first of which is
/// their number.
#[repr(C)]
struct SystemHandle {
    object: usize,
    process: usize,
    value: usize,
    access: u32,
    creator_back_trace_index: u16,
    object_type_index: u16,
    attributes: u32,
    reserved: u32,
}

/// Further information about a handle: its access.
pub(crate) type Carries = Access;

/// A handle in the system's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) value: HandleValue,
    pub(crate) access: Access,
    /// The address of the object in the kernel; zero if the kernel hides it.
    pub(crate) object: usize,
    /// The object's type, as an index that can change with each boot.
    pub(crate) kind: u16,
    pub(crate) inheritable: bool,
    pub(crate) protected: bool,
}

/// Returns the handles of this process that a child would get if it were created with all inheritable handles. An
/// inherited handle is included until its flag is cleared.
pub(crate) fn inheritable() -> SysResult<Vec<(HandleValue, Carries)>> {
    let handles = handles_of(std::process::id())?;
    let inheritable = handles.into_iter().filter(|handle| handle.inheritable);
    Ok(inheritable.map(|handle| (handle.value, handle.access)).collect())
}

/// Returns the handles of a process.
pub(crate) fn handles_of(process: u32) -> SysResult<Vec<Listed>> {
    const ASK: &str = "NtQuerySystemInformation";
    const FIRST: usize = 32 * 1024;
    const MOST: usize = FIRST << 12;
    // The table can grow between two calls; doubling the buffer catches up with it.
    with_room(ASK, FIRST, MOST, |buffer: &mut [u64]| {
        let size = u32::try_from(size_of_val(buffer))
            .map_err(|error| SysError::new(ASK, io::Error::other(error)))?;
        let arguments = [("all handles", Argument::Yes), ("room", size.into())];
        let is_all = ask(ASK, &arguments, || {
            // SAFETY: the buffer is live and writable, and the call writes at most the given size to it.
            let status = unsafe {
                NtQuerySystemInformation(
                    SYSTEM_EXTENDED_HANDLE_INFORMATION,
                    buffer.as_mut_ptr().cast(),
                    size,
                    null_mut(),
                )
            };
            if status == STATUS_INFO_LENGTH_MISMATCH {
                return Ok(None);
            }
            super::handle::succeeded_nt(status).map(Some)
        })?;
        Ok(is_all.map(|()| entries_of(process, buffer)))
    })
}

/// Returns the handles of one process from the system's answer.
fn entries_of(process: u32, answer: &[u64]) -> Vec<Listed> {
    const HEADER: usize = 2 * size_of::<usize>();
    let room = (size_of_val(answer) - HEADER) / size_of::<SystemHandle>();
    // SAFETY: the buffer consists of `u64`s, so it is large enough and aligned for a `usize`, and is initialized. The
    // first word is the number of entries; `min` limits it to the entries that fit into the buffer.
    let count = unsafe { answer.as_ptr().cast::<usize>().read() }.min(room);
    // SAFETY: the buffer is longer than the two words of the header, because callers pass buffers with room for several
    // entries. So the pointer stays within the buffer.
    let first = unsafe { answer.as_ptr().byte_add(HEADER) }.cast::<SystemHandle>();
    // SAFETY: `count` is at most the number of entries that fit behind the header, the buffer is aligned for them and
    // initialized, and they consist of integers, for which any bits are valid.
    let handles = unsafe { std::slice::from_raw_parts(first, count) };
    let listed = |handle: &SystemHandle| {
        Some(Listed {
            value: HandleValue::new(handle.value as u64).ok()?,
            access: Access::from_bits_retain(handle.access),
            object: handle.object,
            kind: handle.object_type_index,
            inheritable: handle.attributes & OBJ_INHERIT != 0,
            protected: handle.attributes & OBJ_PROTECT_CLOSE != 0,
        })
    };
    handles.iter().filter(|handle| handle.process == process as usize).filter_map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_up_to_the_end_of_the_answer() {
        // The buffer has eleven entries, of which the first three and the last two belong to this process. The answer
        // passed to the function ends in the middle of the eleventh.
        let answer = |count: usize| {
            let mut bytes = [count, 0].map(usize::to_ne_bytes).concat();
            for index in 0..11 {
                let process = if matches!(index, 0..3 | 9..) { 8 } else { 12 };
                bytes.extend([0x1000, process, 4 * (index + 1)].map(usize::to_ne_bytes).concat());
                bytes.extend(0x001f_0003_u32.to_ne_bytes());
                bytes.extend([0; 12]);
            }
            let end = 2 * size_of::<usize>() + 10 * size_of::<SystemHandle>() + 8;
            let words = bytes[..end].chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
            words.collect::<Vec<u64>>()
        };
        let values =
            |count| entries_of(8, &answer(count)).iter().map(|handle| handle.value.get()).collect::<Vec<_>>();
        for (count, expected) in [(0, &[][..]), (2, &[4, 8]), (10, &[4, 8, 12, 40]), (11, &[4, 8, 12, 40])] {
            assert_eq!(values(count), expected, "{count}");
        }
        // A count beyond the answer is limited to it.
        assert_eq!(values(usize::MAX), [4, 8, 12, 40]);
    }
}
