//! Creating objects, and operations that only one kind of object has.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_gettime,
    timerfd_settime,
};

use super::SysError;
use super::SysResult;
use super::handle::{ask_how_opened, count_of_eventfd, to};
use super::io::Owned;
use super::reset_mode::{AUTO_RESET, MANUAL_RESET, SEMAPHORE, Way, mark, way_of};
use super::size_limit::check_file_size;
use super::wait::{ready, take};
use super::{Argument, ask, call};
use crate::handle::ObjectKind;

/// The object to create.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Event {
        manual_reset: bool,
    },
    /// On Linux only the kernel limits the count.
    Semaphore {
        initial: i32,
        #[allow(dead_code, reason = "Linux has no maximum for a semaphore")]
        maximum: i32,
    },
    /// The size in bytes.
    SharedMemory(u64),
    Timer {
        manual_reset: bool,
    },
}

impl What {
    /// Returns the name of the call that creates the object.
    pub(crate) const fn creating(self) -> &'static str {
        match self {
            Self::Event { .. } | Self::Semaphore { .. } => "eventfd2",
            Self::SharedMemory(_) => "memfd_create",
            Self::Timer { .. } => "timerfd_create",
        }
    }
}

impl What {
    pub(crate) const fn kind(self) -> ObjectKind {
        match self {
            Self::Event { .. } => ObjectKind::Event,
            Self::Semaphore { .. } => ObjectKind::Semaphore,
            Self::SharedMemory(_) => ObjectKind::SharedMemory,
            Self::Timer { .. } => ObjectKind::Timer,
        }
    }
}

/// Creates an object that isn't signaled. A semaphore has its initial count.
pub(crate) fn create(what: What) -> SysResult<Owned> {
    let name = what.creating();
    match what {
        What::Event { manual_reset } => {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let event = call(name, &[("initial", 0_u32.into())], || Ok(eventfd(0, flags)?.into()))?;
            mark(&event, if manual_reset { MANUAL_RESET } else { AUTO_RESET })?;
            Ok(event)
        }
        What::Semaphore { initial, .. } => {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
            let semaphore = call(name, &[("initial", initial.into()), to("EFD_SEMAPHORE")], || {
                Ok(eventfd(u32::try_from(initial).map_err(io::Error::other)?, flags)?.into())
            })?;
            mark(&semaphore, SEMAPHORE)?;
            Ok(semaphore)
        }
        What::SharedMemory(size) => section(name, size),
        What::Timer { manual_reset } => {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = call(name, &[], || Ok(timerfd_create(TimerfdClockId::Monotonic, flags)?.into()))?;
            if manual_reset {
                mark(&timer, MANUAL_RESET)?;
            }
            Ok(timer)
        }
    }
}

/// Creates a file in memory that can't be executed and can be sealed.
pub(super) fn memory_file(name: &'static str) -> SysResult<Owned> {
    const NAME: &str = "handover";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let label = ("label", NAME.into());
    let file = call(name, &[label, to("MFD_NOEXEC_SEAL")], || {
        Ok(Owned::from(rustix::fs::memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL)?))
    });
    match file {
        // Before Linux 6.3, the flag MFD_NOEXEC_SEAL is unknown.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            call(name, &[label], || Ok(Owned::from(rustix::fs::memfd_create(NAME, flags)?)))
        }
        other => other,
    }
}

fn section(name: &'static str, size: u64) -> SysResult<Owned> {
    // The kernel allocates memory only when it is written to, which would be too late to report that the machine
    // doesn't have it. So a size beyond the machine's memory and swap fails here.
    if size > memory_of_machine()? {
        return Err(SysError::new("memfd_create", Errno::NOMEM));
    }
    let section = memory_file(name)?;
    check_file_size("ftruncate", size)?;
    call("ftruncate", &[("handle", (&section).into()), ("size", size.into())], || {
        Ok(rustix::fs::ftruncate(&section, size)?)
    })?;
    // A process that accesses memory after another one has shrunk it is killed by SIGBUS. The seals fix the size, and
    // themselves, for every process.
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let arguments = [("handle", (&section).into()), ("F_ADD_SEALS", Argument::Flags(seals.bits()))];
    call("fcntl", &arguments, || Ok(rustix::fs::fcntl_add_seals(&section, seals)?))?;
    Ok(section)
}

/// Returns how many bytes this machine has, in memory and on disks for swapping.
pub(crate) fn memory_of_machine() -> SysResult<u64> {
    ask("sysinfo", &[], || {
        let mut machine = MaybeUninit::<libc::sysinfo>::zeroed();
        // SAFETY: the pointer refers to live, writable memory of the structure's size.
        if unsafe { libc::sysinfo(machine.as_mut_ptr()) } != 0 {
            return match io::Error::last_os_error() {
                // A filter that refuses the call: nothing is known.
                error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(u64::MAX),
                error => Err(error),
            };
        }
        // SAFETY: the structure consists of integers, so the zeroed memory was already a valid value, and the successful
        // call has filled it.
        let machine = unsafe { machine.assume_init() };
        #[allow(clippy::useless_conversion, reason = "these are smaller numbers on smaller machines")]
        let (memory, swap) = (u64::from(machine.totalram), u64::from(machine.totalswap));
        Ok(memory.saturating_add(swap).saturating_mul(machine.mem_unit.into()))
    })
}

pub(crate) fn set_event(event: BorrowedFd<'_>) -> SysResult<()> {
    add(event, 1).map(drop)
}

/// Adds to the counter of an eventfd. Returns `false` if the counter has no room.
fn add(eventfd: BorrowedFd<'_>, count: u64) -> SysResult<bool> {
    // An eventfd of another program may be in blocking mode, where a write to a full counter waits.
    if !ask_how_opened(eventfd)?.contains(OFlags::NONBLOCK) {
        const MOST: u64 = u64::MAX - 1;
        // `poll` tells only whether there is room for 1. For more, the counter is read from the fdinfo file.
        let has_room = if count > 1 {
            MOST.saturating_sub(count_of_eventfd(eventfd)?) >= count
        } else {
            ready(&mut [PollFd::from_borrowed_fd(eventfd, PollFlags::OUT)], Some(0))?
        };
        if !has_room {
            return Ok(false);
        }
    }
    loop {
        let written =
            call(
                "write",
                &[("handle", eventfd.into()), ("count", count.into())],
                || match rustix::io::write(eventfd, &count.to_ne_bytes()) {
                    Ok(_) => Ok(Some(())),
                    Err(Errno::AGAIN) => Ok(None),
                    Err(error) => Err(error.into()),
                },
            );
        match written {
            Ok(written) => return Ok(written.is_some()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn reset_event(event: BorrowedFd<'_>) -> SysResult<()> {
    take(event).map(drop)
}

/// The semaphore's count before a release, which Linux doesn't report.
pub(crate) type Before = ();

/// Adds `count` to a semaphore.
pub(crate) fn release_semaphore(semaphore: BorrowedFd<'_>, count: i32) -> SysResult<Before> {
    let count = u64::from(count.unsigned_abs());
    if add(semaphore, count)? { Ok(()) } else { Err(SysError::new("write", Errno::OVERFLOW)) }
}

/// Returns whether a release failed because the semaphore's count would be too large.
pub(crate) fn is_too_many(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::OVERFLOW)
}

/// Starts a timer. It is signaled after `after` units of 100 ns, and then every `period` milliseconds if `period`
/// isn't zero.
pub(crate) fn set_timer(timer: BorrowedFd<'_>, after: i64, period: i32) -> SysResult<()> {
    const UNITS: i64 = 10_000_000;
    let value = match after {
        // A zero time would stop the timer, so the shortest one is used.
        0 => Timespec { tv_sec: 0, tv_nsec: 1 },
        _ => Timespec { tv_sec: after / UNITS, tv_nsec: after % UNITS * 100 },
    };
    let interval =
        Timespec { tv_sec: i64::from(period / 1000), tv_nsec: i64::from(period % 1000) * 1_000_000 };
    settime(timer, value, interval)
}

/// Stops a timer and keeps its signaled state. The kernel resets a timer when it stops it, so a signaled timer that
/// is still running is set to a last expiry, one nanosecond from now.
pub(crate) fn cancel_timer(timer: BorrowedFd<'_>) -> SysResult<()> {
    const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    // The expiry of an auto-reset timer is consumed first; otherwise one waiter could take it before the restart and
    // another one after it.
    let way = way_of(timer)?;
    let has_gone_off = match way {
        Way::Take => take(timer)?,
        Way::Look | Way::Unknown => ready(&mut [PollFd::from_borrowed_fd(timer, PollFlags::IN)], Some(0))?,
    };
    if !has_gone_off {
        return settime(timer, ZERO, ZERO);
    }
    if way == Way::Take {
        return settime(timer, Timespec { tv_sec: 0, tv_nsec: 1 }, ZERO);
    }
    let goes_on = ask("timerfd_gettime", &[("timer", timer.into())], || {
        let time = timerfd_gettime(timer)?.it_value;
        Ok((time.tv_sec, time.tv_nsec) != (0, 0))
    })?;
    if !goes_on {
        return Ok(());
    }
    settime(timer, Timespec { tv_sec: 0, tv_nsec: 1 }, ZERO)
}

fn settime(timer: BorrowedFd<'_>, it_value: Timespec, it_interval: Timespec) -> SysResult<()> {
    let new = Itimerspec { it_interval, it_value };
    let arguments = [
        ("timer", timer.into()),
        ("seconds", it_value.tv_sec.into()),
        ("nanoseconds", it_value.tv_nsec.into()),
        ("period", it_interval.tv_sec.into()),
    ];
    call("timerfd_settime", &arguments, || {
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &new)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::fs::{fcntl_get_seals, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    #[test]
    fn section_can_be_as_large_as_the_memory_of_the_machine() -> io::Result<()> {
        let machine = rustix::system::sysinfo();
        #[allow(clippy::useless_conversion, reason = "it is a smaller number on smaller machines")]
        let units = u64::from(machine.totalram) + u64::from(machine.totalswap);
        let section = |size| create(What::SharedMemory(size));
        let most = units * u64::from(machine.mem_unit);
        assert!(section(most).is_ok());
        let error = section(most + 1).expect_err("the section exceeds the memory of the machine");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOMEM));
        Ok(())
    }

    #[test]
    fn created_objects_are_close_on_exec_and_non_blocking() -> io::Result<()> {
        for what in [
            What::Event { manual_reset: false },
            What::Event { manual_reset: true },
            What::Semaphore { initial: 1, maximum: 1 },
            What::SharedMemory(1),
            What::Timer { manual_reset: false },
            What::Timer { manual_reset: true },
        ] {
            let object = create(what)?;
            assert_eq!(fcntl_getfd(&object)?, FdFlags::CLOEXEC, "{what:?}");
            if let What::SharedMemory(_) = what {
                let kept = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
                assert!(fcntl_get_seals(&object)?.contains(kept), "{what:?}");
                continue;
            }
            let flags = fcntl_getfl(&object)?;
            assert!(flags.contains(OFlags::NONBLOCK), "{what:?}");
            let is_manual =
                matches!(what, What::Event { manual_reset: true } | What::Timer { manual_reset: true });
            assert_eq!(way_of(object.borrowed())? == Way::Look, is_manual, "{what:?}");
        }
        Ok(())
    }

    #[test]
    fn section_larger_than_the_machine_is_refused() {
        let error = create(What::SharedMemory(1 << 60)).expect_err("no machine has so much");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOMEM));
    }

    #[test]
    fn semaphore_in_blocking_mode_is_filled_to_its_limit_without_blocking() -> io::Result<()> {
        // Another program can create one in blocking mode.
        let semaphore = Owned::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)?);
        rustix::io::write(&semaphore, &(u64::MAX - 1 - 5).to_ne_bytes())?;
        release_semaphore(semaphore.borrowed(), 5)?;
        let full = release_semaphore(semaphore.borrowed(), 2).expect_err("the counter has room for less");
        assert!(is_too_many(&full));
        Ok(())
    }

    #[test]
    fn cancelled_timer_stops_and_keeps_its_state() -> io::Result<()> {
        let is_ready =
            |timer: &Owned| ready(&mut [PollFd::from_borrowed_fd(timer.borrowed(), PollFlags::IN)], Some(0));
        let soon = |what: &str, is_so: &dyn Fn() -> SysResult<bool>| -> io::Result<()> {
            let started = Instant::now();
            while !is_so()? {
                assert!(started.elapsed() < Duration::from_secs(10), "{what}");
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        for (manual_reset, period) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let timer = create(What::Timer { manual_reset })?;
            set_timer(timer.borrowed(), 1, period)?;
            soon("it expires", &|| is_ready(&timer))?;
            cancel_timer(timer.borrowed())?;
            soon("it is signaled as before", &|| is_ready(&timer))?;
            let interval = timerfd_gettime(&timer)?.it_interval;
            assert_eq!((interval.tv_sec, interval.tv_nsec), (0, 0), "{manual_reset} {period}");
            if !manual_reset {
                assert!(take(timer.borrowed())?);
                assert!(!is_ready(&timer)?, "once");
            }
        }
        Ok(())
    }
}
