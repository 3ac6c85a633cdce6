//! Measures copies between shared memory and a buffer, beside copies between two buffers.

use std::hint::black_box;
use std::time::Duration;

use handover::SharedMemory;

use crate::Outcome;
use crate::measure::{Bench, Way, timed};

/// The bytes that are copied in one measurement.
const IN_ALL: usize = 4 << 20;
const PAGE: usize = 4096;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const SIZES: [(&str, usize); 5] =
        [("64 B", 64), ("256 B", 256), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];
    for (name, size) in SIZES {
        let memory = SharedMemory::new(size)?;
        // Stands for the memory in the first column.
        let mut buffer = vec![1; size];
        let mut other = vec![2; size + PAGE];
        let view = memory.view_mut()?;
        let write = vec![
            Way::new("memcpy", || each(size, |at| memcpy(&mut buffer, &other[at..][..size]))),
            Way::new("handover", || each(size, |at| Ok(view.write_at(0, black_box(&other[at..][..size]))?))),
        ];
        bench.compare("shared memory, written", name, write)?;
        let mut target = other.clone();
        let read = vec![
            Way::new("memcpy", || each(size, |at| memcpy(&mut other[at..][..size], &buffer))),
            Way::new("handover", || {
                each(size, |at| Ok(view.read_at(0, black_box(&mut target[at..][..size]))?))
            }),
        ];
        bench.compare("shared memory, read", name, read)?;
    }
    Ok(())
}

fn memcpy(into: &mut [u8], from: &[u8]) -> Outcome {
    black_box(into).copy_from_slice(black_box(from));
    Ok(())
}

/// Returns the time of all copies, each of which gets an offset into a page. How fast a processor copies depends on the places
/// of both buffers in their pages, so all places that an allocator gives are measured. One copy before the clock starts
/// brings the memory into the processor's caches.
fn each(size: usize, mut copy: impl FnMut(usize) -> Outcome) -> Outcome<Duration> {
    /// An odd multiple of the alignment that an allocator gives.
    const STEP: usize = 17 * 16;
    copy(0)?;
    let (time, ()) = timed(|| (0..IN_ALL / size).try_for_each(|index| copy(black_box(index * STEP % PAGE))))?;
    Ok(time)
}
