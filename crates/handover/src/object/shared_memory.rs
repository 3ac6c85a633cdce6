//! Sections: memory that processes share.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::ObjectHandle;
use super::macros::object;
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::BorrowedObject;
use crate::sys::bytes::Bytes;
use crate::sys::create_object::What;
use crate::sys::io::HasHandle;
use crate::sys::memory::size_of_section;
use crate::sys::rights;
use crate::sys::{SysResult, call};

/// Memory that several processes have in view at the same time. Win32 calls it a file mapping.
///
/// It travels with the rights to view it for reading and writing (on Windows, `Access::SECTION_USE`); [`read_only`](Self::read_only) can't be written over
/// there. The memory lives as long as a handle or a view of
/// it in any process.
///
/// ```
/// use handover::SharedMemory;
///
/// let section = SharedMemory::new(4096)?;
/// let writing = section.view_mut()?;
/// writing.write_at(10, b"seen")?;
/// let reading = section.view()?;
/// drop((section, writing));
/// let mut bytes = [0; 4];
/// reading.read_at(10, &mut bytes)?;
/// assert_eq!(&bytes, b"seen");
/// # Ok::<(), handover::Error>(())
/// ```
///
/// What another process writes shows at once, and in no order that can be counted on: use atomic numbers
/// ([`ViewMut::atomic_u32`]), or on Windows a mutex beside it. What one process changes as a number while
/// another reads it as bytes comes as the machine has it; the language promises nothing of such a mix.
///
/// A section that comes from a process which isn't trusted may stand for a file; if that vanishes, as one on another
/// machine can, looking at the view ends this process. [`Channel::allow_only`](crate::Channel::allow_only) keeps sections out.
///
/// [File mapping](https://learn.microsoft.com/windows/win32/memory/file-mapping);
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
#[derive(Debug)]
#[doc(alias = "CreateFileMapping", alias = "memfd_create")]
pub struct SharedMemory {
    held: ObjectHandle,
}

impl SharedMemory {
    /// Makes a section of so many bytes, rounded up to whole pages, all zero. Windows promises the memory at once;
    /// Linux takes it when it is first touched, and ends a process for which it then has none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] for no bytes; [`Error::System`] if the system hasn't so much.
    pub fn new(size: usize) -> Result<Self> {
        ObjectHandle::unnamed(what(size)?).map(Self::of)
    }

    /// This section for another process, to read alone.
    #[must_use]
    pub fn read_only(&self) -> BorrowedObject<'_> {
        BorrowedObject::typed(self.handle(), rights::SECTION_READ)
    }

    /// How many bytes it has: whole pages. Whoever receives it needn't be told.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to view it.
    pub fn size(&self) -> Result<usize> {
        size_of_section(self.handle()).map_err(|source| refused("the shared memory", call::TO_READ, source))
    }

    /// All of it, to read.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to read; [`Error::System`] if this process has no
    /// room for so much.
    #[doc(alias = "MapViewOfFile", alias = "mmap")]
    pub fn view(&self) -> Result<View> {
        self.seen(Bytes::whole(self.handle(), false), false).map(View)
    }

    /// All of it, to read and write.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to write; [`Error::System`] if this process has
    /// no room for so much.
    pub fn view_mut(&self) -> Result<ViewMut> {
        self.seen(Bytes::whole(self.handle(), true), true).map(View).map(ViewMut)
    }

    /// So many bytes from this place on, to read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the section hasn't them, or none are asked for; otherwise as [`view`](Self::view).
    pub fn view_range(&self, from: usize, length: usize) -> Result<View> {
        self.map(false, from, length).map(View)
    }

    /// So many bytes from this place on, to read and write.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the section hasn't them, or none are asked for; otherwise as
    /// [`view_mut`](Self::view_mut).
    pub fn view_mut_range(&self, from: usize, length: usize) -> Result<ViewMut> {
        self.map(true, from, length).map(View).map(ViewMut)
    }

    fn map(&self, writing: bool, from: usize, length: usize) -> Result<Bytes> {
        let past_the_end = |size: &str| {
            let what = format!("a view of {length} bytes from byte {from}");
            Error::invalid(
                what,
                format!(
                    "is invalid; expected at least one byte, and no more than the shared memory has{size}"
                ),
            )
        };
        let Some(end) = from.checked_add(length).filter(|_| length > 0) else {
            return Err(past_the_end(""));
        };
        let bytes = Bytes::view(self.handle(), writing, from as u64, length);
        // The system refuses it with the code for want of rights.
        match bytes {
            Ok(bytes) => Ok(bytes),
            Err(source) => match size_of_section(self.handle()) {
                Ok(size) if end > size => Err(past_the_end(&format!(", {size}"))),
                _ => self.seen(Err(source), writing),
            },
        }
    }

    #[allow(clippy::unused_self, reason = "it is said of this section")]
    fn seen(&self, bytes: SysResult<Bytes>, writing: bool) -> Result<Bytes> {
        let right = if writing { call::TO_WRITE } else { call::TO_READ };
        bytes.map_err(|source| refused("the shared memory", right, source))
    }
}

/// Bytes of a [`SharedMemory`] in view, to read. The view lasts as long as this, also when the section's handle is closed.
#[derive(Debug)]
pub struct View(Bytes);

impl View {
    /// How many bytes are in view.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a view is never empty")]
    pub fn len(&self) -> usize {
        self.0.bytes().len()
    }

    /// Copies bytes from this place on. Another process may be writing them just then, and the copy have some old and
    /// some new ones.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if they aren't all in view.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<()> {
        let from = self.0.bytes().get(at..).and_then(|rest| rest.get(..into.len()));
        let from = from.ok_or_else(|| past_the_end(at, into.len(), self.len()))?;
        for (byte, shared) in into.iter_mut().zip(from) {
            *byte = shared.load(Relaxed);
        }
        Ok(())
    }

    /// Copies all bytes in view.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.bytes().iter().map(|byte| byte.load(Relaxed)).collect()
    }
}

/// Bytes of a [`SharedMemory`] in view, to read and write. The view lasts as long as this, also when the section's handle
/// is closed.
#[derive(Debug)]
pub struct ViewMut(View);

impl ViewMut {
    /// Writes bytes from this place on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if there isn't room for all of them in view; none is written then.
    pub fn write_at(&self, at: usize, bytes: &[u8]) -> Result<()> {
        let to = self.0.0.bytes().get(at..).and_then(|rest| rest.get(..bytes.len()));
        let to = to.ok_or_else(|| past_the_end(at, bytes.len(), self.len()))?;
        for (byte, shared) in bytes.iter().zip(to) {
            shared.store(*byte, Relaxed);
        }
        Ok(())
    }

    /// The number at this place, for processes to change together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it isn't all in view, or the place is no multiple of four.
    pub fn atomic_u32(&self, at: usize) -> Result<&AtomicU32> {
        self.0.0.u32(at).ok_or_else(|| not_there(at, 4, self.len()))
    }

    /// The number at this place, for processes to change together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it isn't all in view, or the place is no multiple of eight.
    pub fn atomic_u64(&self, at: usize) -> Result<&AtomicU64> {
        self.0.0.u64(at).ok_or_else(|| not_there(at, 8, self.len()))
    }
}

impl std::ops::Deref for ViewMut {
    type Target = View;

    fn deref(&self) -> &View {
        &self.0
    }
}

fn past_the_end(at: usize, length: usize, size: usize) -> Error {
    Error::invalid(
        format!("the range of {length} bytes from byte {at}"),
        format!("is outside the view, which has {size} bytes"),
    )
}

fn not_there(at: usize, size: usize, length: usize) -> Error {
    let why = format!("expected a place that is a multiple of {size}, in a view of {length} bytes");
    Error::invalid(format!("the number of {size} bytes at byte {at}"), why)
}

pub(crate) fn what(size: usize) -> Result<What> {
    if size == 0 {
        return Err(Error::invalid("shared memory of 0 bytes", "can't be created; expected at least 1 byte"));
    }
    /// On every machine that runs Windows, and on most others.
    const PAGE: usize = 4096;
    let whole = size.checked_next_multiple_of(PAGE);
    let whole = whole.ok_or_else(|| {
        Error::invalid(format!("shared memory of {size} bytes"), "is larger than any machine's memory")
    })?;
    Ok(What::SharedMemory(whole as u64))
}

object!(SharedMemory, ObjectKind::SharedMemory, rights::SECTION);
