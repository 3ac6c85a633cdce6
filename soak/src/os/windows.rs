//! Windows: what the kernel counts of each process.
//!
//! Unsafe, like the library's `sys`, for the same reason: these are system calls.

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

/// How many hand-overs and spawns take some seconds, under Wine too.
pub(crate) const SHORT: (u64, u64) = (8_000, 120);

/// How many handles a process has. Wine, which doesn't count them, can only be asked at rest: a look at all tables ends its
/// server while any process has an empty one, such as one that is just being created.
pub(crate) fn handles(process: &Process, is_at_rest: bool) -> Outcome<Option<u64>> {
    let mut count = 0;
    // SAFETY: the handle is borrowed, so it is open; `count` is a live place for the answer.
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

/// How many entries the table of all handles has for a process.
fn entries_of(process: u32) -> Outcome<u64> {
    const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
    const HEADER: usize = 2;
    let mut words = vec![0_usize; 64 * 1024];
    loop {
        let size = u32::try_from(size_of_val(words.as_slice()))?;
        // SAFETY: the buffer has that size, and the call writes no more.
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
            status => return Err(format!("NtQuerySystemInformation: {status:#x}").into()),
        }
    }
    const { assert!(size_of::<Entry>() % size_of::<usize>() == 0) };
    const WORDS: usize = size_of::<Entry>() / size_of::<usize>();
    // The process stands in the second word of each.
    let entries = words[HEADER..].chunks_exact(WORDS).take(words[0]);
    Ok(entries.filter(|entry| entry[1] == process as usize).count().try_into()?)
}

/// How many bytes of memory a process has for itself alone.
pub(crate) fn memory(process: &Process) -> Outcome<u64> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = u32::try_from(size_of_val(&counters))?;
    let place = (&raw mut counters).cast::<PROCESS_MEMORY_COUNTERS>();
    // SAFETY: the handle is borrowed, so it is open; the place has the size that is given.
    let answer = unsafe { GetProcessMemoryInfo(process.as_handle().as_raw_handle(), place, size) };
    if answer == 0 {
        return Err(failed("GetProcessMemoryInfo"));
    }
    // Wine leaves the last field out.
    Ok(counters.PrivateUsage.max(counters.PagefileUsage).try_into()?)
}

/// What only Windows has: putting a handle into a running process.
pub(crate) const MORE_WORK: &[Work] = &[("push", push)];

const PUSHED: &[u8] = b"pushed";

fn push(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let peer = at.channel.peer().ok_or("the peer is not known")?;
    let copy = peer.duplicate_into(&event)?;
    let value = copy.value();
    at.channel.send(format!("push {value}").into_bytes())?;
    // By now it is the peer's.
    copy.into_value();
    expect(&at.channel.recv_timeout(PATIENCE)?, PUSHED)?;
    if event.try_wait()? { Ok(1) } else { Err("what was pushed was not set".into()) }
}

pub(crate) fn answer_to_more(channel: &Channel, message: &ReceivedMessage) -> Outcome {
    let text = std::str::from_utf8(message.bytes())?;
    let value = text.strip_prefix("push ").ok_or_else(|| format!("no such request: {text}"))?;
    let value: HandleValue = value.parse()?;
    // SAFETY: the other process has put it into this one's table for us, and says it once.
    let event: Event = unsafe { value.adopt() }?;
    event.set()?;
    channel.send(Message::new(PUSHED))?;
    Ok(())
}
