//! Handle tables, by the system's list.

use std::io;
use std::ptr::null_mut;

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SYSTEM_INFORMATION_CLASS};
use windows_sys::Win32::Foundation::STATUS_INFO_LENGTH_MISMATCH;

use super::grow_buffer::with_room;
use super::{Argument, SysError, SysResult, ask};
use crate::handle::{Access, HandleValue};

/// The class that windows-sys doesn't name. The older one has only 16 bits for a process's id.
const SYSTEM_EXTENDED_HANDLE_INFORMATION: SYSTEM_INFORMATION_CLASS = 64;

/// `OBJ_PROTECT_CLOSE` and `OBJ_INHERIT` among a handle's attributes.
const OBJ_PROTECT_CLOSE: u32 = 1;
const OBJ_INHERIT: u32 = 2;

/// `SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX`. The list of them follows two words, of which the first is their
/// number.
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

/// What is known of a handle beside its value.
pub(crate) type Carries = Access;

/// A handle in the system's list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) value: HandleValue,
    pub(crate) access: Access,
    /// Where the kernel has its object; zero if it doesn't tell.
    pub(crate) object: usize,
    /// Which kind it is, by a number that each start of the system gives anew.
    pub(crate) kind: u16,
    pub(crate) inheritable: bool,
    pub(crate) protected: bool,
}

/// The handles of this process that a child created with inheritance of all would get. What was inherited is
/// among them until its flag is cleared.
pub(crate) fn inheritable() -> SysResult<Vec<(HandleValue, Carries)>> {
    let handles = handles_of(std::process::id())?;
    let inheritable = handles.into_iter().filter(|handle| handle.inheritable);
    Ok(inheritable.map(|handle| (handle.value, handle.access)).collect())
}

/// The handles of a process.
pub(crate) fn handles_of(process: u32) -> SysResult<Vec<Listed>> {
    const ASK: &str = "NtQuerySystemInformation";
    const FIRST: usize = 32 * 1024;
    const MOST: usize = FIRST << 12;
    // The table grows while it is asked for; twice the room is enough in the end.
    with_room(ASK, FIRST, MOST, |buffer: &mut [u64]| {
        let size = u32::try_from(size_of_val(buffer))
            .map_err(|error| SysError::new(ASK, io::Error::other(error)))?;
        let arguments = [("all handles", Argument::Yes), ("room", size.into())];
        let is_all = ask(ASK, &arguments, || {
            // SAFETY: the buffer has that size, and the call writes no more.
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
        Ok(is_all.map(|()| those_of(process, buffer)))
    })
}

/// Those handles of an answer that are a process's.
fn those_of(process: u32, answer: &[u64]) -> Vec<Listed> {
    const HEADER: usize = 2 * size_of::<usize>();
    let room = (size_of_val(answer) - HEADER) / size_of::<SystemHandle>();
    // SAFETY: the first word of the answer is the number of entries; the buffer is aligned and large enough
    // for it.
    let count = unsafe { answer.as_ptr().cast::<usize>().read() }.min(room);
    // SAFETY: the buffer is longer than the header.
    let first = unsafe { answer.as_ptr().byte_add(HEADER) }.cast::<SystemHandle>();
    // SAFETY: the answer has that many entries, for which the buffer has room; any bits are values of their
    // integers.
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
    fn an_answer_is_read_as_far_as_there_is_one() {
        // Eleven entries, of which the first three and the last two are this process's; only ten and a bit
        // are the answer.
        let words = size_of::<SystemHandle>() / 8;
        let mut answer = vec![0_u64; 2 + 11 * words];
        let length = 2 + 10 * words + 1;
        for (place, entry) in answer[2..].chunks_exact_mut(words).enumerate() {
            let process = if matches!(place, 0..3 | 9..) { 8 } else { 12 };
            let value = 4 * (place as u64 + 1);
            entry.copy_from_slice(&[0x1000, process, value, 0x2_0000_001f_0003, 0][..words]);
        }
        let values = |answer: &[u64]| {
            those_of(8, &answer[..length]).iter().map(|handle| handle.value.get()).collect::<Vec<_>>()
        };
        for (count, expected) in [(0, &[][..]), (2, &[4, 8]), (10, &[4, 8, 12, 40]), (11, &[4, 8, 12, 40])] {
            answer[0] = count;
            assert_eq!(values(&answer), expected, "{count}");
        }
        // However much it says that it is.
        answer[0] = u64::MAX;
        assert_eq!(values(&answer), [4, 8, 12, 40]);
    }
}
