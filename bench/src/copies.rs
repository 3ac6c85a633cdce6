//! Measures copies between shared memory and a buffer, beside copies between two buffers.

use std::hint::black_box;
use std::time::Duration;

use handover::SharedMemory;

use crate::Outcome;
use crate::measure::{Bench, Way, timed};

/// The bytes that are copied in one measurement.
const IN_ALL: usize = 4 << 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const SIZES: [(&str, usize); 5] =
        [("64 B", 64), ("256 B", 256), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];
    for (name, size) in SIZES {
        let memory = SharedMemory::new(size)?;
        let (mut one, mut other) = (vec![1; size], vec![2; size]);
        let view = memory.view_mut()?;
        let write = vec![
            Way::new("memcpy", || each(size, || memcpy(&mut one, &other))),
            Way::new("handover", || each(size, || Ok(view.write_at(0, black_box(&other))?))),
        ];
        bench.compare("shared memory, written", name, write)?;
        let source = vec![3; size];
        let read = vec![
            Way::new("memcpy", || each(size, || memcpy(&mut one, &source))),
            Way::new("handover", || each(size, || Ok(view.read_at(0, black_box(&mut other))?))),
        ];
        bench.compare("shared memory, read", name, read)?;
    }
    Ok(())
}

fn memcpy(into: &mut [u8], from: &[u8]) -> Outcome {
    black_box(into).copy_from_slice(black_box(from));
    Ok(())
}

/// Returns the time of all copies. One before the clock starts brings the memory into the processor's caches.
fn each(size: usize, mut copy: impl FnMut() -> Outcome) -> Outcome<Duration> {
    copy()?;
    let (time, ()) = timed(|| (0..IN_ALL / size).try_for_each(|_| copy()))?;
    Ok(time)
}
