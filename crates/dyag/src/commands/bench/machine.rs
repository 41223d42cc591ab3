//! The machine, and the best it could do.

use anyhow::Context as _;
use dyag_kernels::Device;
use dyag_kernels::cpu::{self, Level};
use dyag_kernels::cpu_device::CpuDevice;
use dyag_train::memory;
use serde::Serialize;

/// What is computed on.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// Name of the processor, where the system says it.
    pub(super) processor: Option<String>,
    /// Threads that compute.
    pub(super) threads: usize,
    /// The best instruction set of the processor.
    pub(super) instructions: &'static str,
    /// The kernels in use.
    pub(super) kernels: String,
    /// Memory that was free at the start.
    pub(super) available_bytes: Option<u64>,
}

impl Machine {
    pub(super) fn describe(device: &CpuDevice) -> Self {
        Self {
            processor: processor(),
            threads: device.threads(),
            instructions: cpu::detected().name(),
            kernels: device.describe(),
            available_bytes: memory::available().map(|memory| memory.bytes),
        }
    }
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The rates that others are shares of.
#[derive(Debug, Serialize)]
pub(super) struct Peaks {
    /// f32 multiply-adds in registers, 10^9 operations a second.
    pub(super) vector_gflops: Option<f64>,
    /// Multiply-adds of pairs of bf16 in registers, 10^9 operations a second.
    pub(super) bf16_gflops: Option<f64>,
    /// bf16 products of the matrix unit, 10^9 operations a second.
    pub(super) tile_gflops: Option<f64>,
    /// Reads from memory, 10^9 bytes a second.
    pub(super) memory_gigabytes_a_second: f64,
    /// What products with frozen weights use.
    #[serde(skip)]
    level: Level,
}

impl Peaks {
    pub(super) fn measure(device: &CpuDevice) -> anyhow::Result<Self> {
        Ok(Self {
            vector_gflops: device.peak_vector_gflops(),
            bf16_gflops: device.peak_bf16_gflops(),
            tile_gflops: device.peak_tile_gflops(),
            memory_gigabytes_a_second: device.memory_gigabytes_a_second().context("cannot get the memory whose reading is timed")?,
            level: device.product_level(),
        })
    }

    /// What a product with frozen weights could reach.
    pub(super) fn of_products(&self) -> Option<f64> {
        match self.level {
            Level::Amx => self.tile_gflops,
            Level::Avx512Bf16 => self.bf16_gflops,
            _ => self.vector_gflops,
        }
    }
}
