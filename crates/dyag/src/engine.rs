//! Where and how to compute: the flags that every command with a model has, and the device they ask for.

use anyhow::{Context as _, bail};
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};

use crate::cli::{DeviceChoice, PrecisionChoice};

/// Where and how to compute, as typed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Where to compute
    #[arg(long, value_enum, value_name = "DEVICE", default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,

    /// What the operands of products with the model's weights are rounded to
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = PrecisionChoice::Auto)]
    pub(crate) precision: PrecisionChoice,

    /// Threads to compute with; all processors when absent. Results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

impl EngineArgs {
    /// The device these ask for.
    pub(crate) fn open(self) -> anyhow::Result<CpuDevice> {
        self.open_with(self.precision == PrecisionChoice::Auto)
    }

    /// The same, told whether products of few rows with quantised weights round activations to bytes.
    pub(crate) fn open_with(self, int8_activations: bool) -> anyhow::Result<CpuDevice> {
        let Self { device, precision, threads } = self;
        match device {
            DeviceChoice::Auto | DeviceChoice::Cpu => {}
            DeviceChoice::Cuda => bail!(
                "--device cuda: this version has no CUDA kernels and loads no CUDA driver; expected auto or cpu. \
                 Leave --device out to compute on the processor"
            ),
        }
        let options = CpuOptions { precision: precision.into(), threads: threads.map(usize::from), level: None, int8_activations };
        CpuDevice::new(options).context("cannot start the threads to compute with; try --threads 1")
    }
}
