//! The Windows parts. They contain unsafe code because they make system calls.

#![allow(unsafe_code)]

use std::os::windows::io::{AsHandle, AsRawHandle};

use handover::{Channel, Event, HandleValue, Message, Process, ReceivedMessage};
use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::Foundation::STATUS_INFO_LENGTH_MISMATCH;
use windows_sys::Win32::System::ProcessStatus::{
    GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::Threading::GetProcessHandleCount;

use crate::work::{At, PATIENCE, Work, expect};
use crate::{Outcome, failed};

/// The numbers of hand-overs and spawns that take some seconds, even under Wine.
pub(crate) const SHORT: (u64, u64) = (8_000, 120);

/// Returns the number of handles of a process, or `None` if it cannot be counted now.
///
/// Wine's `GetProcessHandleCount` returns 0, so this function then counts the entries in the list of all handles. It
/// does so at rest only: querying that list crashes Wine's server while any process has an empty handle table, as one
/// that is just being created does.
pub(crate) fn handles(process: &Process, is_at_rest: bool) -> Outcome<Option<u64>> {
    let mut count = 0;
    // SAFETY: `process` is borrowed during the call, so its handle is open. `count` is a live u32, to which the call
    // writes.
    let answer = unsafe { GetProcessHandleCount(process.as_handle().as_raw_handle(), &raw mut count) };
    if answer == 0 {
        return Err(failed("GetProcessHandleCount"));
    }
    match count {
        0 if is_at_rest => entries_of(process.id()).map(Some),
        0 => Ok(None),
        count => Ok(Some(count.into())),
    }
}

/// `SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    object: usize,
    process: usize,
    value: usize,
    access: u32,
    trace: u16,
    kind: u16,
    attributes: u32,
    reserved: u32,
}

/// Counts the entries of a process in the system's list of all handles.
fn entries_of(process: u32) -> Outcome<u64> {
    const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
    const HEADER: usize = 2;
    let mut words = vec![0_usize; 64 * 1024];
    loop {
        let size = u32::try_from(size_of_val(words.as_slice()))?;
        // SAFETY: `words` is a live buffer of `size` bytes, and the call writes at most `size` bytes. The return length
        // may be null.
        let status = unsafe {
            NtQuerySystemInformation(
                SYSTEM_EXTENDED_HANDLE_INFORMATION,
                words.as_mut_ptr().cast(),
                size,
                std::ptr::null_mut(),
            )
        };
        match status {
            STATUS_INFO_LENGTH_MISMATCH => words.resize(words.len() * 2, 0),
            0.. => break,
            status => return Err(format!("NtQuerySystemInformation failed: status {status:#x}").into()),
        }
    }
    const { assert!(size_of::<Entry>() % size_of::<usize>() == 0) };
    const WORDS: usize = size_of::<Entry>() / size_of::<usize>();
    // The second word of each entry is the process id.
    let entries = words[HEADER..].chunks_exact(WORDS).take(words[0]);
    Ok(entries.filter(|entry| entry[1] == process as usize).count().try_into()?)
}

/// Returns the private memory of a process in bytes.
pub(crate) fn memory(process: &Process) -> Outcome<u64> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = u32::try_from(size_of_val(&counters))?;
    let pointer = (&raw mut counters).cast::<PROCESS_MEMORY_COUNTERS>();
    // SAFETY: `process` is borrowed during the call, so its handle is open. `pointer` points to `counters`, which is
    // live and has `size` bytes.
    let answer = unsafe { GetProcessMemoryInfo(process.as_handle().as_raw_handle(), pointer, size) };
    if answer == 0 {
        return Err(failed("GetProcessMemoryInfo"));
    }
    // Wine does not set the last field, `PrivateUsage`.
    Ok(counters.PrivateUsage.max(counters.PagefileUsage).try_into()?)
}

/// Only Windows can duplicate a handle into a running process.
pub(crate) const MORE_WORK: &[Work] = &[("duplicated into the peer", duplicate_into_peer)];

const ADOPTED: &[u8] = b"adopted";

fn duplicate_into_peer(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let peer = at.channel.peer().ok_or("the peer is not known")?;
    let copy = peer.duplicate_into(&event)?;
    let value = copy.value();
    at.channel.send(format!("adopt {value}").into_bytes())?;
    // The peer has received the value, so it owns the handle from now on.
    copy.into_value();
    expect(&at.channel.recv_timeout(PATIENCE)?, ADOPTED)?;
    if event.try_wait()? { Ok(1) } else { Err("the peer did not set the duplicated event".into()) }
}

pub(crate) fn answer_to_more(channel: &Channel, message: &ReceivedMessage) -> Outcome {
    let text = std::str::from_utf8(message.bytes())?;
    let value = text.strip_prefix("adopt ").ok_or_else(|| format!("unknown request: {text}"))?;
    let value: HandleValue = value.parse()?;
    // SAFETY: the sender has duplicated an event into this process's handle table, sends its value once, and does not
    // close it. So no other value owns the handle.
    let event: Event = unsafe { value.adopt() }?;
    event.set()?;
    channel.send(Message::new(ADOPTED))?;
    Ok(())
}
