//! The matrix unit of x86-64 (AMX, bf16): permission, configuration, and the innermost loop.
//!
//! A tile is 16 rows of 64 bytes. `tdpbf16ps c, a, b` adds to `c` (16 x 16 f32) the product of `a`, 16 rows of 32 bf16, and `b`, 16 rows of 16 pairs:
//! row r of `b` holds rows 2r and 2r + 1 of a 32 x 16 matrix, interleaved. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::{RESULT, TILE};

/// Whether this machine has the unit, the system lets this process use it, and it multiplies as it should. The first call asks for the permission and tries.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        // Bits 22 (bf16) and 24 (tiles) of edx.
        let leaf = std::arch::x86_64::__cpuid_count(7, 0);
        leaf.edx >> 22 & 1 == 1 && leaf.edx >> 24 & 1 == 1 && permitted() && super::multiplies_rightly(super::Kind::Tiles)
    })
}

/// Asks Linux for the state that tiles are kept in: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    // SAFETY: a system call that reads no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The unit, configured for this thread, which it cannot leave, until dropped: eight tiles of 16 rows of 64 bytes.
pub(super) struct Unit(PhantomData<*const ()>);

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_a_row: [u16; 16],
    rows: [u8; 16],
}

impl Unit {
    /// Configures the unit.
    ///
    /// # Safety
    /// [`available`] must have said so, or something must stand in for the unit.
    pub(super) unsafe fn configure() -> Self {
        let mut configuration = Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes_a_row: [0; 16], rows: [0; 16] };
        configuration.bytes_a_row[..8].fill(64);
        configuration.rows[..8].fill(16);
        // SAFETY: 64 bytes of a valid configuration; the caller vouches for the unit.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) };
        Self(PhantomData)
    }

    /// `sums (+)= lines pairs` over `steps` steps: see [`super::Kind::multiply`].
    pub(super) fn multiply(
        &self,
        tiles: (usize, usize),
        steps: usize,
        (lines, pairs): (&[u16], &[u16]),
        sums: &mut [f32; 4 * RESULT],
        from_zero: bool,
    ) {
        assert!(steps > 0 && lines.len() >= steps * 2 * TILE && pairs.len() >= steps * 2 * TILE);
        let (lines, pairs, sums) = (lines.as_ptr(), pairs.as_ptr(), sums.as_mut_ptr());
        // SAFETY: the lengths just asserted; `self` says that the unit is configured on this thread, as it cannot leave it.
        unsafe {
            match tiles {
                (2, 2) => two_by_two(steps, lines, pairs, sums, from_zero),
                (2, _) => two_by_one(steps, lines, pairs, sums, from_zero),
                (_, 2) => one_by_two(steps, lines, pairs, sums, from_zero),
                _ => one_by_one(steps, lines, pairs, sums, from_zero),
            }
        }
    }
}

/// Defines the loop for some of the four results: a step loads what it needs of two tiles of lines (`tmm4`, `tmm5`) and two of columns (`tmm6`, `tmm7`),
/// and adds their products to the results in `tmm0` to `tmm3`.
macro_rules! loops {
    ($name:ident, zero [$($zero:literal)*], load [$($load:literal)*], step [$($step:literal)*], store [$($store:literal)*]) => {
        /// # Safety
        /// The unit is configured; `steps` steps of both operands, and four results.
        unsafe fn $name(steps: usize, lines: *const u16, pairs: *const u16, sums: *mut f32, from_zero: bool) {
            // SAFETY: the caller's contract.
            unsafe {
                asm!(
                    "test {zero:e}, {zero:e}",
                    "jz 2f",
                    $($zero,)*
                    "jmp 3f",
                    "2:",
                    $($load,)*
                    "3:",
                    $($step,)*
                    "add {a}, 2048",
                    "add {b}, 2048",
                    "dec {steps}",
                    "jnz 3b",
                    $($store,)*
                    zero = in(reg) i32::from(from_zero),
                    c = in(reg) sums,
                    line = in(reg) 64usize,
                    a = inout(reg) lines => _,
                    b = inout(reg) pairs => _,
                    steps = inout(reg) steps => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

loops!(
    two_by_two,
    zero ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
    load [
        "tileloadd tmm0, [{c} + {line}*1]" "tileloadd tmm1, [{c} + {line}*1 + 1024]"
        "tileloadd tmm2, [{c} + {line}*1 + 2048]" "tileloadd tmm3, [{c} + {line}*1 + 3072]"
    ],
    step [
        "tileloadd tmm6, [{b} + {line}*1]" "tileloadd tmm4, [{a} + {line}*1]" "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {line}*1 + 1024]" "tdpbf16ps tmm2, tmm5, tmm6"
        "tileloadd tmm7, [{b} + {line}*1 + 1024]" "tdpbf16ps tmm1, tmm4, tmm7" "tdpbf16ps tmm3, tmm5, tmm7"
    ],
    store [
        "tilestored [{c} + {line}*1], tmm0" "tilestored [{c} + {line}*1 + 1024], tmm1"
        "tilestored [{c} + {line}*1 + 2048], tmm2" "tilestored [{c} + {line}*1 + 3072], tmm3"
    ]
);
loops!(
    two_by_one,
    zero ["tilezero tmm0" "tilezero tmm2"],
    load ["tileloadd tmm0, [{c} + {line}*1]" "tileloadd tmm2, [{c} + {line}*1 + 2048]"],
    step [
        "tileloadd tmm6, [{b} + {line}*1]" "tileloadd tmm4, [{a} + {line}*1]" "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {line}*1 + 1024]" "tdpbf16ps tmm2, tmm5, tmm6"
    ],
    store ["tilestored [{c} + {line}*1], tmm0" "tilestored [{c} + {line}*1 + 2048], tmm2"]
);
loops!(
    one_by_two,
    zero ["tilezero tmm0" "tilezero tmm1"],
    load ["tileloadd tmm0, [{c} + {line}*1]" "tileloadd tmm1, [{c} + {line}*1 + 1024]"],
    step [
        "tileloadd tmm6, [{b} + {line}*1]" "tileloadd tmm4, [{a} + {line}*1]" "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{b} + {line}*1 + 1024]" "tdpbf16ps tmm1, tmm4, tmm7"
    ],
    store ["tilestored [{c} + {line}*1], tmm0" "tilestored [{c} + {line}*1 + 1024], tmm1"]
);
loops!(
    one_by_one,
    zero ["tilezero tmm0"],
    load ["tileloadd tmm0, [{c} + {line}*1]"],
    step ["tileloadd tmm6, [{b} + {line}*1]" "tileloadd tmm4, [{a} + {line}*1]" "tdpbf16ps tmm0, tmm4, tmm6"],
    store ["tilestored [{c} + {line}*1], tmm0"]
);

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: the unit is configured on this thread.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

/// Rounds of [`exercise`] that take a good part of a second.
pub(in crate::cpu_device) const MANY_ROUNDS: usize = 10_000_000;

/// Operations of a round: four tiles of 16 x 16 sums of 32 products.
pub(in crate::cpu_device) const A_ROUND_FLOPS: f64 = 4.0 * 16.0 * 16.0 * 32.0 * 2.0;

/// Keeps the unit of this thread busy as a product would at best: one operand's panel of 16 KB stays in the first-level cache, the other streams from
/// 256 KB in the second, and the sums never leave their tiles.
///
/// # Safety
/// As [`Unit::configure`].
pub(in crate::cpu_device) unsafe fn exercise(rounds: usize) {
    const PANEL_BYTES: usize = 16 << 10;
    const SET_BYTES: usize = 256 << 10;
    // SAFETY: the caller's contract.
    let _unit = unsafe { Unit::configure() };
    let (panel, set) = (vec![0u64; PANEL_BYTES / 8], vec![0u64; SET_BYTES / 8]);
    // SAFETY: offsets wrap at the two lengths, each a power of two and a multiple of the 2 KB that a round reads of it.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "lea {x}, [{set} + {x_at}]",
            "lea {w}, [{panel} + {w_at}]",
            "tileloadd tmm6, [{x} + {line}*1]",
            "tileloadd tmm4, [{w} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{w} + {line}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{x} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x_at}, 2048",
            "and {x_at}, {x_mask}",
            "add {w_at}, 2048",
            "and {w_at}, {w_mask}",
            "dec {rounds}",
            "jnz 2b",
            x = out(reg) _,
            w = out(reg) _,
            set = in(reg) set.as_ptr(),
            panel = in(reg) panel.as_ptr(),
            line = in(reg) 64usize,
            x_at = inout(reg) 0usize => _,
            w_at = inout(reg) 0usize => _,
            x_mask = const SET_BYTES - 1,
            w_mask = const PANEL_BYTES - 1,
            rounds = inout(reg) rounds => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        );
    }
}
