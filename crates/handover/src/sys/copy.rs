//! Copies to and from memory that other processes or threads may change at the same time.
//!
//! Rust has no copy for such memory: `copy_nonoverlapping` must not race, and bytes as atomics are slow, and undefined
//! beside atomics of another width. So the moves are inline assembly, of which the compiler only knows that it reads
//! and writes memory. The effect of such a move on the shared side can be told in Rust's terms, as the rules of inline
//! assembly ask for: for each number of any width that it touches, it makes one relaxed atomic access of that width for
//! each byte that it moves. So a copy beside a write may have old and new bytes, and nothing else can happen.

#![allow(unsafe_code)]

/// The number of bytes of the largest move.
const BLOCK: usize = 64;

/// From this length on, moves of wide registers are worth the question whether the processor has them.
#[cfg(target_arch = "x86_64")]
const WIDE: usize = 128;
/// Up to this length, two moves of [`WIDE`] bytes do it.
#[cfg(target_arch = "x86_64")]
const TWO_WIDE: usize = 2 * WIDE;
/// From this length on, `rep movsb` is the fastest way on the processors for which [`repeats_fast`] returns true.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 4096;

/// Copies `length` bytes.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `length` bytes, and the two ranges must not overlap. One of the two must
/// be memory that Rust code accesses only as atomics and by this function; the other must be exclusively the caller's.
#[inline]
pub(super) unsafe fn copy(mut from: *const u8, mut to: *mut u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    if length >= LONG && repeats_fast() {
        // SAFETY: as required of the caller, both ranges have `length` bytes.
        return unsafe { repeat(from, to, length) };
    }
    #[cfg(target_arch = "x86_64")]
    if length >= WIDE && std::arch::is_x86_feature_detected!("avx") {
        if length <= TWO_WIDE {
            // SAFETY: the processor has AVX. As required of the caller, both ranges have `length` bytes.
            unsafe { both_ends(from, to, length) };
        } else {
            // SAFETY: the processor has AVX. As required of the caller, both ranges have `length` bytes.
            unsafe { aligned(from, to, length) };
        }
        return;
    }
    let mut left = length;
    if length >= BLOCK {
        while left > BLOCK {
            // SAFETY: both ranges have more than `BLOCK` more bytes.
            unsafe { block(from, to) };
            (from, to) = (from.wrapping_add(BLOCK), to.wrapping_add(BLOCK));
            left -= BLOCK;
        }
        // The last move overlaps the one before, so each number of remaining bytes costs the same.
        let back = BLOCK - left;
        // SAFETY: each range ends `left` bytes behind these addresses, and has `length` bytes, which are at least `BLOCK`. So
        // the last `BLOCK` bytes of each begin `back` bytes before.
        unsafe { block(from.wrapping_sub(back), to.wrapping_sub(back)) };
        return;
    }
    macro_rules! at {
        ($at:expr, $move:ident) => {
            // SAFETY: both ranges have `left` more bytes, and each branch below moves only bytes before that end.
            unsafe { $move(from.wrapping_add($at), to.wrapping_add($at)) }
        };
    }
    // Moves may overlap, so each remaining length needs few of them.
    match left {
        32.. => {
            at!(0, sixteen);
            at!(16, sixteen);
            at!(left - 32, sixteen);
            at!(left - 16, sixteen);
        }
        16..=31 => {
            at!(0, sixteen);
            at!(left - 16, sixteen);
        }
        8..=15 => {
            at!(0, eight);
            at!(left - 8, eight);
        }
        4..=7 => {
            at!(0, four);
            at!(left - 4, four);
        }
        0..=3 => (0..left).for_each(|at| at!(at, one)),
    }
}

/// Defines moves of a fixed size: the name, the size in bytes, the instructions, and the registers that they use.
#[allow(unused_macros, reason = "not each processor has one instruction for each size")]
macro_rules! moves {
    ($($name:ident: $($line:literal),+; $($register:ident: $class:ident),+;)+) => {$(
        #[inline(always)]
        unsafe fn $name(from: *const u8, to: *mut u8) {
            // SAFETY: the caller passes ranges of this function's size, readable and writable. The instructions only
            // move bytes between them, through registers that are declared as overwritten.
            unsafe {
                core::arch::asm!(
                    $($line),+,
                    from = in(reg) from,
                    to = in(reg) to,
                    $($register = out($class) _),+,
                    options(nostack, preserves_flags)
                );
            }
        }
    )+};
}

/// Moves the bytes by one instruction, which the processor runs in the widest steps that it has.
#[cfg(target_arch = "x86_64")]
unsafe fn repeat(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller passes ranges of `length` bytes, readable and writable. The instruction moves as many, and counts in the
    // three registers, which are declared as changed. Rust code always runs with the direction flag clear, so it moves forwards.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") length => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Returns whether `rep movsb` is fast for all addresses. It is on Intel's processors with FSRM (fast short `rep movsb`). AMD's
/// have FSRM too, and some of them are slow where the target begins a little behind the source in its page.
#[cfg(target_arch = "x86_64")]
fn repeats_fast() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    const FSRM: u32 = 1 << 4;

    // In a virtual machine, the instruction takes microseconds.
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        #[allow(unused_unsafe, reason = "newer versions of Rust call it safe")]
        // SAFETY: each 64-bit x86 processor has the instruction, and the leaf 0.
        let first = unsafe { __cpuid(0) };
        if [first.ebx, first.edx, first.ecx].map(u32::to_le_bytes).as_flattened() != b"GenuineIntel"
            || first.eax < 7
        {
            return false;
        }
        #[allow(unused_unsafe, reason = "newer versions of Rust call it safe")]
        // SAFETY: the processor has the instruction, and says that 7 is one of its leaves.
        let features = unsafe { __cpuid_count(7, 0) };
        features.edx & FSRM != 0
    })
}

/// Moves the first and the last [`WIDE`] bytes. They may overlap.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn both_ends(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller passes ranges of `length` bytes, which are at least `WIDE`. The instructions move 128 bytes from the
    // beginning of the one to that of the other, and 128 bytes that end at their ends. `vzeroupper` changes the registers 0
    // to 15, also those that nothing is moved through, so all of them are declared as overwritten.
    unsafe {
        core::arch::asm!(
            "vmovups ymm0, [{from}]",
            "vmovups ymm1, [{from} + 32]",
            "vmovups ymm2, [{from} + 64]",
            "vmovups ymm3, [{from} + 96]",
            "vmovups ymm4, [{from} + {length} - 128]",
            "vmovups ymm5, [{from} + {length} - 96]",
            "vmovups ymm6, [{from} + {length} - 64]",
            "vmovups ymm7, [{from} + {length} - 32]",
            "vmovups [{to}], ymm0",
            "vmovups [{to} + 32], ymm1",
            "vmovups [{to} + 64], ymm2",
            "vmovups [{to} + 96], ymm3",
            "vmovups [{to} + {length} - 128], ymm4",
            "vmovups [{to} + {length} - 96], ymm5",
            "vmovups [{to} + {length} - 64], ymm6",
            "vmovups [{to} + {length} - 32], ymm7",
            "vzeroupper",
            from = in(reg) from,
            to = in(reg) to,
            length = in(reg) length,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack, preserves_flags)
        );
    }
}

/// Moves more than [`TWO_WIDE`] bytes, most of them to aligned addresses.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn aligned(from: *const u8, to: *mut u8, length: usize) {
    // The first move is unaligned. The loop begins at an aligned address of the target, up to 32 bytes further, and leaves 1
    // to `WIDE` bytes. The last moves begin before them.
    let first = 32 - to.addr() % 32;
    let looped = (length - first - 1) / WIDE * WIDE;
    let back = WIDE - (length - first - looped);
    // SAFETY: the caller passes ranges of `length` bytes. The first instructions move 32 bytes, which are fewer. The loop
    // moves `looped` bytes behind the first ones, a multiple of `WIDE` and not zero. The last instructions move the last
    // `WIDE` bytes of the ranges. `vzeroupper` changes the registers 0 to 15, also those that nothing is moved through, so
    // all of them are declared as overwritten.
    unsafe {
        core::arch::asm!(
            "vmovups ymm0, [{from}]",
            "vmovups [{to}], ymm0",
            "add {from}, {first}",
            "add {to}, {first}",
            "2:",
            "vmovups ymm0, [{from}]",
            "vmovups ymm1, [{from} + 32]",
            "vmovups ymm2, [{from} + 64]",
            "vmovups ymm3, [{from} + 96]",
            "add {from}, 128",
            "vmovaps [{to}], ymm0",
            "vmovaps [{to} + 32], ymm1",
            "vmovaps [{to} + 64], ymm2",
            "vmovaps [{to} + 96], ymm3",
            "add {to}, 128",
            "sub {left}, 128",
            "jnz 2b",
            "sub {from}, {back}",
            "sub {to}, {back}",
            "vmovups ymm0, [{from}]",
            "vmovups ymm1, [{from} + 32]",
            "vmovups ymm2, [{from} + 64]",
            "vmovups ymm3, [{from} + 96]",
            "vmovups [{to}], ymm0",
            "vmovups [{to} + 32], ymm1",
            "vmovups [{to} + 64], ymm2",
            "vmovups [{to} + 96], ymm3",
            "vzeroupper",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            first = in(reg) first,
            back = in(reg) back,
            left = inout(reg) looped => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack)
        );
    }
}

// Each x86 processor that Rust's targets for Windows and Linux support has SSE2.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
moves! {
    block:
        "movups {a}, [{from}]", "movups {b}, [{from} + 16]", "movups {c}, [{from} + 32]", "movups {d}, [{from} + 48]",
        "movups [{to}], {a}", "movups [{to} + 16], {b}", "movups [{to} + 32], {c}", "movups [{to} + 48], {d}";
        a: xmm_reg, b: xmm_reg, c: xmm_reg, d: xmm_reg;
    sixteen: "movups {a}, [{from}]", "movups [{to}], {a}"; a: xmm_reg;
    eight: "movq {a}, qword ptr [{from}]", "movq qword ptr [{to}], {a}"; a: xmm_reg;
    four: "movd {a}, dword ptr [{from}]", "movd dword ptr [{to}], {a}"; a: xmm_reg;
    one: "mov {a}, byte ptr [{from}]", "mov byte ptr [{to}], {a}"; a: reg_byte;
}

#[cfg(target_arch = "aarch64")]
moves! {
    block:
        "ldp {a:q}, {b:q}, [{from}]", "ldp {c:q}, {d:q}, [{from}, #32]",
        "stp {a:q}, {b:q}, [{to}]", "stp {c:q}, {d:q}, [{to}, #32]";
        a: vreg, b: vreg, c: vreg, d: vreg;
    sixteen: "ldr {a:q}, [{from}]", "str {a:q}, [{to}]"; a: vreg;
    eight: "ldr {a}, [{from}]", "str {a}, [{to}]"; a: reg;
    four: "ldr {a:w}, [{from}]", "str {a:w}, [{to}]"; a: reg;
    one: "ldrb {a:w}, [{from}]", "strb {a:w}, [{to}]"; a: reg;
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
mod other {
    //! For the other processors. Volatile accesses are what Rust has for memory that changes by itself; each is of one
    //! byte, because some processors have no unaligned ones.

    macro_rules! bytes {
        ($($name:ident: $size:literal;)+) => {$(
            #[inline(always)]
            pub(super) unsafe fn $name(from: *const u8, to: *mut u8) {
                for at in 0..$size {
                    // SAFETY: the caller passes a readable range of `$size` bytes.
                    let byte = unsafe { from.wrapping_add(at).read_volatile() };
                    // SAFETY: the caller passes a writable range of `$size` bytes.
                    unsafe { to.wrapping_add(at).write_volatile(byte) };
                }
            }
        )+};
    }
    bytes! { block: 64; sixteen: 16; eight: 8; four: 4; one: 1; }
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
use other::{block, eight, four, one, sixteen};

#[cfg(test)]
mod tests {
    use super::*;

    /// The registers of a caller that has them in use keep their values over a copy. The caller is compiled for AVX, so
    /// that the copy can become a part of it.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn copies_keep_the_callers_registers() {
        #[target_feature(enable = "avx")]
        unsafe fn sums(bytes: &[u8; 512], rounds: u8) -> [f64; 16] {
            let mut sums: [f64; 16] = std::array::from_fn(|index| index as f64);
            let mut copied = [0_u8; 512];
            for _ in 0..rounds {
                // SAFETY: the processor has AVX, as the caller has checked. Both arrays have 512 bytes, and no other
                // code uses them.
                unsafe { aligned(bytes.as_ptr(), copied.as_mut_ptr(), 512) };
                let added = f64::from(std::mem::take(&mut copied[0]));
                sums.iter_mut().for_each(|sum| *sum = *sum * 1.5 + added);
                // SAFETY: as for the call before, and 200 bytes are at least `WIDE`.
                unsafe { both_ends(bytes.as_ptr(), copied.as_mut_ptr(), 200) };
                let added = f64::from(copied[0]);
                sums.iter_mut().for_each(|sum| *sum = *sum * 1.5 + added);
            }
            sums
        }
        if !std::arch::is_x86_feature_detected!("avx") {
            return;
        }
        let mut expected: [f64; 16] = std::array::from_fn(|index| index as f64);
        for _ in 0..8 {
            expected.iter_mut().for_each(|sum| *sum = *sum * 1.5 + 1.0);
        }
        // SAFETY: the processor has AVX.
        let found = unsafe { sums(std::hint::black_box(&[1; 512]), std::hint::black_box(4)) };
        assert_eq!(found, expected);
    }

    #[test]
    fn each_length_and_alignment_is_copied_and_nothing_beside_it() {
        let lengths = (0..=300).chain([1023, 1024, 2047, 2048, 2049, 4095, 4096, 4097, 5000, 20_000]);
        assert_copies(copy, lengths);
    }

    /// A processor that copies in another way has the instruction too.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn repeated_move_copies_each_length_and_nothing_beside_it() {
        assert_copies(repeat, (0..=300).chain([4095, 4096, 4097, 20_000]));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn wide_moves_copy_each_length_and_nothing_beside_it() {
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX, and `assert_copies` passes ranges of `length` bytes.
            let copy = |from, to, length| unsafe { aligned(from, to, length) };
            assert_copies(copy, (257..=600).chain([4095, 4096, 4097, 20_000]));
        }
    }

    fn assert_copies(copy: unsafe fn(*const u8, *mut u8, usize), lengths: impl Iterator<Item = usize>) {
        for length in lengths {
            for (first, second) in [(0, 0), (1, 0), (0, 3), (7, 9), (15, 1)] {
                let source: Vec<u8> = (1..=251_u8).cycle().take(length + 32).collect();
                let mut target = vec![0_u8; length + 32];
                let (from, to) = (source[first..].as_ptr(), target[second..].as_mut_ptr());
                // SAFETY: both vectors have 32 bytes more than `length`, so the ranges from these offsets on are within
                // them. They are different allocations, and no other code uses them.
                unsafe { copy(from, to, length) };
                assert_eq!(
                    target[second..][..length],
                    source[first..][..length],
                    "{length} {first} {second}"
                );
                let beside = target[..second].iter().chain(&target[second + length..]);
                assert!(beside.copied().all(|byte| byte == 0), "{length} {first} {second}");
            }
        }
    }
}
