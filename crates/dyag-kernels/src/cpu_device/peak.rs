//! What the processor could do at best: the rates that kernels are measured against.

use std::hint::black_box;
use std::time::Instant;

use super::CpuDevice;
use super::math::for_each_level;
use crate::cpu::Level;

/// Multiply-adds a thread makes in one measurement of the vector units, in registers alone.
const ROUNDS: u64 = 2_000_000;

/// Independent multiply-adds of a round: more than their latency times their rate.
const A_ROUND: usize = 12;

/// Bytes read in one measurement of memory: more than any cache.
const MEMORY_BYTES: usize = 512 << 20;

/// Places a thread reads at in turn: one alone waits for the first lines of every page.
const STREAMS: usize = 4;

for_each_level! {
    fn sum_of_words(words: &[u8]) -> u64 {
        let part = words.len() / (64 * STREAMS);
        let (lines, _) = words.as_chunks::<64>();
        let mut lanes = [0u64; 8];
        for i in 0..part {
            for stream in 0..STREAMS {
                for (lane, word) in lanes.iter_mut().zip(lines[stream * part + i].as_chunks::<8>().0) {
                    *lane ^= u64::from_le_bytes(*word);
                }
            }
        }
        lanes.iter().fold(0, |a, b| a ^ b)
    }
}

impl CpuDevice {
    /// f32 multiply-adds of all threads together, in 10^9 operations a second (a multiply-add is two); `None` without vector instructions.
    pub fn peak_vector_gflops(&self) -> Option<f64> {
        let lanes = match self.level {
            Level::Avx512 | Level::Avx512Bf16 | Level::Amx => 16.0,
            Level::Avx2 => 8.0,
            Level::Scalar => return None,
        };
        let seconds = self.seconds_of_all(|| {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was found on this machine.
            unsafe {
                if self.level == Level::Avx2 { x86::multiply_adds_avx2(ROUNDS) } else { x86::multiply_adds_avx512(ROUNDS) }
            }
        });
        Some(self.threads() as f64 * ROUNDS as f64 * A_ROUND as f64 * lanes * 2.0 / seconds / 1e9)
    }

    /// bf16 multiply-adds of pairs (AVX-512 BF16) of all threads together, in 10^9 operations a second; `None` without them.
    pub fn peak_bf16_gflops(&self) -> Option<f64> {
        #[cfg(target_arch = "x86_64")]
        if super::bf16_dots_available() {
            // SAFETY: the instructions are there.
            let seconds = self.seconds_of_all(|| unsafe { x86::multiply_pairs(ROUNDS) });
            return Some(self.threads() as f64 * ROUNDS as f64 * A_ROUND as f64 * 64.0 / seconds / 1e9);
        }
        None
    }

    /// bf16 products of the matrix unit, of all threads together, in 10^9 operations a second, fed from the first two levels of cache; `None` without one.
    pub fn peak_tile_gflops(&self) -> Option<f64> {
        #[cfg(target_arch = "x86_64")]
        if super::tiles_available() {
            // SAFETY: the unit is there.
            let seconds = self.seconds_of_all(|| unsafe { super::bf16::exercise(super::bf16::MANY_ROUNDS) });
            return Some(self.threads() as f64 * super::bf16::MANY_ROUNDS as f64 * super::bf16::A_ROUND_FLOPS / seconds / 1e9);
        }
        None
    }

    /// Bytes that all threads together read from memory in a second, in 10^9.
    ///
    /// # Errors
    /// When the system does not give the memory to read.
    pub fn memory_gigabytes_a_second(&self) -> std::io::Result<f64> {
        let mut map = memmap2::MmapMut::map_anon(MEMORY_BYTES)?;
        // A page that was never written is not in memory.
        map.chunks_mut(4096).enumerate().for_each(|(i, page)| page[0] = i as u8);
        let bytes = map.make_read_only()?;
        let share = MEMORY_BYTES / self.threads() / (64 * STREAMS) * (64 * STREAMS);
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            self.threads.broadcast(|context| {
                black_box(sum_of_words(self.level, &bytes[context.index() * share..][..share]));
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok((share * self.threads()) as f64 / best / 1e9)
    }

    /// Seconds until every thread has done `work`, the best of five.
    fn seconds_of_all(&self, work: impl Fn() + Sync) -> f64 {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            self.threads.broadcast(|_| work());
            best = best.min(start.elapsed().as_secs_f64());
        }
        best
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    macro_rules! multiply_adds {
        ($name:ident, $feature:literal, $($instruction:literal)*) => {
            /// # Safety
            /// The machine must have the instructions.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name(rounds: u64) {
                // SAFETY: registers alone, all of them named.
                unsafe {
                    asm!(
                        "vzeroall", "2:", $($instruction,)* "dec {0}", "jnz 2b", inout(reg) rounds => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nomem, nostack)
                    );
                }
            }
        };
    }
    multiply_adds!(
        multiply_adds_avx512, "avx512f",
        "vfmadd231ps zmm0, zmm12, zmm13" "vfmadd231ps zmm1, zmm12, zmm13" "vfmadd231ps zmm2, zmm12, zmm13" "vfmadd231ps zmm3, zmm12, zmm13"
        "vfmadd231ps zmm4, zmm12, zmm13" "vfmadd231ps zmm5, zmm12, zmm13" "vfmadd231ps zmm6, zmm12, zmm13" "vfmadd231ps zmm7, zmm12, zmm13"
        "vfmadd231ps zmm8, zmm12, zmm13" "vfmadd231ps zmm9, zmm12, zmm13" "vfmadd231ps zmm10, zmm12, zmm13" "vfmadd231ps zmm11, zmm12, zmm13"
    );
    multiply_adds!(
        multiply_pairs, "avx512f,avx512bf16",
        "vdpbf16ps zmm0, zmm12, zmm13" "vdpbf16ps zmm1, zmm12, zmm13" "vdpbf16ps zmm2, zmm12, zmm13" "vdpbf16ps zmm3, zmm12, zmm13"
        "vdpbf16ps zmm4, zmm12, zmm13" "vdpbf16ps zmm5, zmm12, zmm13" "vdpbf16ps zmm6, zmm12, zmm13" "vdpbf16ps zmm7, zmm12, zmm13"
        "vdpbf16ps zmm8, zmm12, zmm13" "vdpbf16ps zmm9, zmm12, zmm13" "vdpbf16ps zmm10, zmm12, zmm13" "vdpbf16ps zmm11, zmm12, zmm13"
    );
    multiply_adds!(
        multiply_adds_avx2, "avx2,fma",
        "vfmadd231ps ymm0, ymm12, ymm13" "vfmadd231ps ymm1, ymm12, ymm13" "vfmadd231ps ymm2, ymm12, ymm13" "vfmadd231ps ymm3, ymm12, ymm13"
        "vfmadd231ps ymm4, ymm12, ymm13" "vfmadd231ps ymm5, ymm12, ymm13" "vfmadd231ps ymm6, ymm12, ymm13" "vfmadd231ps ymm7, ymm12, ymm13"
        "vfmadd231ps ymm8, ymm12, ymm13" "vfmadd231ps ymm9, ymm12, ymm13" "vfmadd231ps ymm10, ymm12, ymm13" "vfmadd231ps ymm11, ymm12, ymm13"
    );
}
