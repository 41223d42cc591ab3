//! Which instruction set the kernels use: found at run time, and lowered by `DYAG_CPU` for tests and for doubt.

use std::sync::OnceLock;

/// A rung of the ladder of instruction sets. A machine has its own rung and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, whatever the compiler makes of it.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, VL and DQ, with all of the above.
    Avx512,
    /// AVX-512 BF16, which products in bf16 use; all else is computed as on the rung below.
    Avx512Bf16,
    /// AMX tiles of bf16, which products in bf16 use; all else is computed as with AVX-512.
    Amx,
}

impl Level {
    /// Name in `DYAG_CPU`, manifests and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    /// The rung of the vector instructions.
    pub(crate) fn vector(self) -> Self {
        self.min(Self::Avx512)
    }
}

/// The highest rung of this machine.
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        if avx512 && crate::cpu_device::tiles_available() {
            return Level::Amx;
        }
        if avx512 && crate::cpu_device::bf16_dots_available() {
            return Level::Avx512Bf16;
        }
        if avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Scalar
}

/// Every rung this machine has, from the lowest: what tests walk through.
pub fn available() -> Vec<Level> {
    [Level::Scalar, Level::Avx2, Level::Avx512, Level::Avx512Bf16, Level::Amx].into_iter().filter(|level| *level <= detected()).collect()
}

/// The rung that computes fastest here: the highest, but for AVX-512 BF16 where the processor takes its time over it (Intel's: half the rate of f32).
fn fastest() -> Level {
    match detected() {
        Level::Avx512Bf16 if !is_amd() => Level::Avx512,
        level => level,
    }
}

/// Whether AMD made the processor.
fn is_amd() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let leaf = std::arch::x86_64::__cpuid(0);
        [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether products in bf16 are faster than in f32 on the rung in use.
pub fn bf16_is_fast() -> bool {
    level() >= Level::Avx512Bf16
}

/// The rung in use: the fastest one, or the one `DYAG_CPU` (`scalar`, `avx2`, `avx512`, `avx512bf16`, `amx`) asks for when the machine has it.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = std::env::var("DYAG_CPU").unwrap_or_default();
        available().into_iter().find(|level| level.name() == wanted).unwrap_or_else(fastest)
    })
}
