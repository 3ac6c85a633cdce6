//! Shared memory, and the views that map it into this process.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::ObjectHandle;
use super::macros::object;
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::BorrowedObject;
use crate::sys::bytes::{Bytes, NoNumber};
use crate::sys::create_object::What;
use crate::sys::io::HasHandle;
use crate::sys::memory::size_of_section;
use crate::sys::rights;
use crate::sys::{SysResult, call};

/// Memory that several processes can map at the same time. Win32 calls it a file mapping, and the kernel a section.
///
/// Use it to exchange large amounts of data without copying them through a pipe. Shared memory carries the rights to
/// map it for reading and writing (on Windows, `Access::SECTION_USE`). A process that receives it as
/// [`read_only`](Self::read_only) can't write to it by mistake. On Windows the kernel enforces this; on Linux a process of
/// the same user can open the memory again for writing.
///
/// Dropping a `SharedMemory` closes this process's handle. The memory exists until the last handle and the last view in
/// any process are closed.
///
/// ```
/// use handover::SharedMemory;
///
/// let memory = SharedMemory::new(4096)?;
/// let writer = memory.view_mut()?;
/// writer.write_at(10, b"seen")?;
/// let reader = memory.view()?;
/// drop((memory, writer)); // the view keeps the memory
///
/// let mut bytes = [0; 4];
/// reader.read_at(10, &mut bytes)?;
/// assert_eq!(&bytes, b"seen");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Concurrent access
///
/// The writes of one process are visible in the others at once, but in no guaranteed order. Synchronize them with
/// atomic numbers ([`ViewMut::atomic_u32`]), or on Windows with a mutex. Don't read
/// the bytes of a number with [`View::read_at`] while another process may change it atomically: the language doesn't
/// define the result.
///
/// # Untrusted peers
///
/// Shared memory from an untrusted process may be a mapped file. If that file becomes unreadable, for example because
/// it is on another machine, a read of the view kills this process. A new channel accepts shared
/// memory. To refuse it, call [`Channel::allow_only`](crate::Channel::allow_only) without it.
///
/// [File mapping](https://learn.microsoft.com/windows/win32/memory/file-mapping);
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
#[doc(alias = "CreateFileMapping", alias = "memfd_create")]
pub struct SharedMemory {
    handle: ObjectHandle,
}

impl SharedMemory {
    /// Creates shared memory of `size` bytes, rounded up to whole pages. All bytes are zero.
    ///
    /// Windows commits the memory when it is created. Linux allocates each page on its first use, and kills a process
    /// if no memory is left at that time.
    ///
    /// The caller owns the result; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `size` is zero or larger than any machine's memory; [`Error::System`] if the system
    /// has not enough memory.
    pub fn new(size: usize) -> Result<Self> {
        ObjectHandle::unnamed(what(size)?).map(Self::of)
    }

    /// Returns this memory to share with another process, which can then only read it.
    ///
    /// On Linux, each share opens the memory again for a moment. As closing any descriptor does, that releases the record
    /// locks (`fcntl`) that this process has on the memory.
    ///
    /// A host for an untrusted plug-in:
    /// [`examples/plugin_host.rs`](https://docs.rs/crate/handover/latest/source/examples/plugin_host.rs).
    #[must_use]
    pub fn read_only(&self) -> BorrowedObject<'_> {
        BorrowedObject::no_semaphore(self.handle(), rights::SECTION_READ)
    }

    /// Returns the size in bytes, a multiple of the page size unless another library made the memory. The receiver of
    /// shared memory can call it too, so the size need not be sent.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to query the size.
    pub fn size(&self) -> Result<usize> {
        size_of_section(self.handle()).map_err(|source| refused("the shared memory", call::TO_READ, source))
    }

    /// Maps the whole memory into this process, for reading.
    ///
    /// Dropping the view unmaps it.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to read; [`Error::System`] if this process has not enough
    /// address space.
    ///
    /// [MapViewOfFile](https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-mapviewoffile);
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    #[doc(alias = "MapViewOfFile", alias = "mmap")]
    pub fn view(&self) -> Result<View> {
        self.mapped(Bytes::whole(self.handle(), false), false).map(View)
    }

    /// Maps the whole memory into this process, for reading and writing.
    ///
    /// Dropping the view unmaps it.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to write; [`Error::System`] if this process has not enough
    /// address space.
    pub fn view_mut(&self) -> Result<ViewMut> {
        self.mapped(Bytes::whole(self.handle(), true), true).map(View).map(ViewMut)
    }

    /// Maps `length` bytes from the offset `from` on, for reading.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `length` is zero or the range exceeds the memory; otherwise the errors of
    /// [`view`](Self::view).
    pub fn view_range(&self, from: usize, length: usize) -> Result<View> {
        self.map(false, from, length).map(View)
    }

    /// Maps `length` bytes from the offset `from` on, for reading and writing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if `length` is zero or the range exceeds the memory; otherwise the errors of
    /// [`view_mut`](Self::view_mut).
    pub fn view_mut_range(&self, from: usize, length: usize) -> Result<ViewMut> {
        self.map(true, from, length).map(View).map(ViewMut)
    }

    fn map(&self, writing: bool, from: usize, length: usize) -> Result<Bytes> {
        let invalid =
            |reason: String| Error::invalid(format!("a view of {length} bytes from byte {from}"), reason);
        if length == 0 {
            return Err(invalid("has no bytes; expected at least 1 byte".into()));
        }
        let Some(end) = from.checked_add(length) else {
            return Err(invalid("ends beyond the largest address".into()));
        };
        let bytes = Bytes::view(self.handle(), writing, from as u64, length);
        // The system reports a range beyond the end as an access error, so the size is compared to tell them apart.
        match bytes {
            Ok(bytes) => Ok(bytes),
            Err(source) => match size_of_section(self.handle()) {
                Ok(size) if end > size => {
                    Err(invalid(format!("is out of range: the shared memory has {size} bytes")))
                }
                _ => self.mapped(Err(source), writing),
            },
        }
    }

    #[allow(clippy::unused_self, reason = "a method, because its error is about this memory")]
    fn mapped(&self, bytes: SysResult<Bytes>, writing: bool) -> Result<Bytes> {
        let right = if writing { call::TO_WRITE } else { call::TO_READ };
        bytes.map_err(|source| refused("the shared memory", right, source))
    }
}

/// A range of a [`SharedMemory`] that is mapped into this process for reading.
///
/// Dropping the view unmaps the range. Until then it stays valid, also after the `SharedMemory` was dropped.
pub struct View(Bytes);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl View {
    /// Returns the length of the view in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a view is never empty")]
    pub fn len(&self) -> usize {
        self.0.length()
    }

    /// Fills the buffer `into` with the bytes from the offset `at` on.
    ///
    /// If another process writes to the range at the same time, the copy may have old and new bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the range isn't completely inside the view.
    #[inline]
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<()> {
        if self.0.copy_out(at, into) { Ok(()) } else { Err(outside_view(at, into.len(), self.len())) }
    }

    /// Returns a copy of all bytes of the view.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len()];
        let is_inside = self.0.copy_out(0, &mut copy);
        assert!(is_inside, "the copy has the view's length");
        copy
    }
}

/// A range of a [`SharedMemory`] that is mapped into this process for reading and writing.
///
/// Dropping the view unmaps the range. Until then it stays valid, also after the `SharedMemory` was dropped.
pub struct ViewMut(View);

impl fmt::Debug for ViewMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewMut").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl ViewMut {
    /// Writes the bytes to the view, from the offset `at` on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the range isn't completely inside the view. Then no byte has been written.
    #[inline]
    pub fn write_at(&self, at: usize, bytes: &[u8]) -> Result<()> {
        if self.0.0.copy_in(at, bytes) { Ok(()) } else { Err(outside_view(at, bytes.len(), self.len())) }
    }

    /// Returns the 32-bit number at the offset `at`, which several processes can read and change atomically.
    ///
    /// A ring buffer between two processes:
    /// [`examples/ring.rs`](https://docs.rs/crate/handover/latest/source/examples/ring.rs).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the number isn't completely inside the view, if `at` isn't a multiple of four, or if
    /// this view has 64-bit numbers already. All numbers of one view have the same width, because overlapping accesses
    /// of two widths have no defined result. Map another view for the others.
    pub fn atomic_u32(&self, at: usize) -> Result<&AtomicU32> {
        self.0.0.u32(at).map_err(|why| no_number(why, at, 4, self.len()))
    }

    /// Returns the 64-bit number at the offset `at`, which several processes can read and change atomically.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the number isn't completely inside the view, if `at` isn't a multiple of eight, or if
    /// this view has 32-bit numbers already.
    pub fn atomic_u64(&self, at: usize) -> Result<&AtomicU64> {
        self.0.0.u64(at).map_err(|why| no_number(why, at, 8, self.len()))
    }
}

impl std::ops::Deref for ViewMut {
    type Target = View;

    fn deref(&self) -> &View {
        &self.0
    }
}

#[cold]
fn outside_view(at: usize, length: usize, size: usize) -> Error {
    Error::invalid(
        format!("the range of {length} bytes from byte {at}"),
        format!("is outside the view, which has {size} bytes"),
    )
}

fn no_number(why: NoNumber, at: usize, size: usize, length: usize) -> Error {
    let reason = match why {
        NoNumber::Misplaced if at % size != 0 => {
            format!("is misaligned; expected an offset that is a multiple of {size}")
        }
        NoNumber::Misplaced => format!("is outside the view, which has {length} bytes"),
        NoNumber::OtherWidth => {
            "has another width than this view's other numbers; map another view for it".to_owned()
        }
    };
    Error::invalid(format!("the number of {size} bytes at byte {at}"), reason)
}

pub(crate) fn what(size: usize) -> Result<What> {
    if size == 0 {
        return Err(Error::invalid("shared memory of 0 bytes", "can't be created; expected at least 1 byte"));
    }
    /// The page size of every machine that runs Windows, and of most machines that run Linux.
    const PAGE: usize = 4096;
    let rounded = size.checked_next_multiple_of(PAGE);
    let rounded = rounded.ok_or_else(|| {
        Error::invalid(format!("shared memory of {size} bytes"), "is larger than any machine's memory")
    })?;
    Ok(What::SharedMemory(rounded as u64))
}

object!(SharedMemory, ObjectKind::SharedMemory, rights::SECTION);
