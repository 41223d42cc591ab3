//! Processor, memory, disks and GPUs of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dyag_kernels::Device as _;
use dyag_kernels::cpu;
use dyag_train::memory;
use serde::Serialize;

use super::Findings;
use crate::cli::{DeviceChoice, PrecisionChoice};
use crate::download_progress::size;
use crate::engine::EngineArgs;
use crate::language::say;

/// Instructions that kernels use or might: what is looked for among what the system says the processor has.
const FEATURES: [&str; 16] = [
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512dq",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
];

/// Below this, nothing that is worth writing fits.
const LITTLE_BYTES: u64 = 200_000_000;
/// Below this, the models that people begin with do not fit.
const ENOUGH_BYTES: u64 = 4_000_000_000;

/// The processor and what is made of it.
#[derive(Debug, Serialize)]
pub(super) struct Processor {
    pub(super) model: Option<String>,
    /// Instruction sets among those that matter here.
    pub(super) features: Vec<String>,
    /// The best set that dyag has kernels for.
    pub(super) instructions: &'static str,
    /// The kernels that `--precision auto` picks.
    pub(super) kernels: String,
    /// Whether products in bf16 are faster than in f32 here.
    pub(super) bf16_is_fast: bool,
    pub(super) cores: Option<usize>,
    /// Threads that compute unless told otherwise.
    pub(super) threads: usize,
}

impl Processor {
    pub(super) fn look() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let device = EngineArgs { device: DeviceChoice::Cpu, precision: PrecisionChoice::Auto, threads: None }.open()?;
        Ok(Self {
            model: field(&text, "model name").map(str::to_owned),
            features: features(&text),
            instructions: cpu::detected().name(),
            kernels: device.describe(),
            bf16_is_fast: cpu::bf16_is_fast(),
            cores: cores(&text),
            threads: device.threads(),
        })
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn features(cpuinfo: &str) -> Vec<String> {
    let flags: BTreeSet<&str> = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default().split(' ').collect();
    FEATURES.iter().filter(|name| flags.contains(**name)).map(|name| (*name).to_owned()).collect()
}

/// Cores, where the system tells them from threads.
fn cores(cpuinfo: &str) -> Option<usize> {
    let cores: BTreeSet<(&str, &str)> =
        cpuinfo.split("\n\n").filter_map(|part| Some((field(part, "physical id")?, field(part, "core id")?))).collect();
    (!cores.is_empty()).then_some(cores.len())
}

/// How much memory there is.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) total_bytes: Option<u64>,
    pub(super) available_bytes: Option<u64>,
    /// Where the latter was read.
    pub(super) source: Option<String>,
}

impl Memory {
    pub(super) fn look() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = field(&meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
        let available = memory::available();
        Self {
            total_bytes: kib.and_then(|kib| kib.checked_mul(1024)),
            available_bytes: available.as_ref().map(|memory| memory.bytes),
            source: available.map(|memory| memory.source),
        }
    }
}

/// Room in a folder.
#[derive(Debug, Serialize)]
pub(super) struct Disk {
    /// What lies there.
    pub(super) what: &'static str,
    pub(super) path: String,
    pub(super) free_bytes: Option<u64>,
    /// Whether files can be made in it, or in the nearest folder above it that is there.
    pub(super) writable: bool,
}

impl Disk {
    pub(super) fn look(what: &'static str, path: &Path, found: &mut Findings) -> Self {
        let free_bytes = dyag_hub::free_bytes(path);
        let problem = write_problem(path);
        let shown = path.display();
        if let Some(problem) = &problem {
            let advice = match what {
                "models" => {
                    say!("name a folder that can be written to in HF_HUB_CACHE", "nommer dans HF_HUB_CACHE un dossier où l'on peut écrire")
                }
                _ => say!(
                    "work in a folder of your own, or name others with --output",
                    "travailler dans un dossier à soi, ou en nommer d'autres avec --output"
                ),
            };
            let said = say!("no files can be made in {shown}: {problem}", "on ne peut créer de fichier dans {shown} : {problem}");
            // Models that are there can be used from a folder that cannot be written to; results have to go somewhere.
            if what == "models" { found.note(said, advice) } else { found.problem(said, advice) }
        }
        if let Some(free) = free_bytes.filter(|free| *free < ENOUGH_BYTES) {
            let said = say!("little room in {shown}: {}", "peu de place dans {shown} : {}", size(free));
            let advice = say!(
                "free some (`dyag models list` shows what models take), or use a folder on another disk (HF_HUB_CACHE, --output)",
                "en libérer (« dyag models list » montre ce que prennent les modèles), ou prendre un dossier d'un autre disque (HF_HUB_CACHE, --output)"
            );
            if free < LITTLE_BYTES { found.problem(said, advice) } else { found.note(said, advice) }
        }
        Self { what, path: shown.to_string(), free_bytes, writable: problem.is_none() }
    }
}

/// Why no file can be made below a folder that need not be there yet.
fn write_problem(folder: &Path) -> Option<String> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let probe = existing.join(format!(".dyag-doctor-{}", std::process::id()));
    match fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => fs::remove_file(&probe).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// Graphics processors, which this version does not compute on.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gpu {
    /// Names, or makers where only those can be read.
    pub(super) found: Vec<String>,
    /// Version of the NVIDIA driver.
    pub(super) nvidia_driver: Option<String>,
    /// Whether dyag computes on one.
    pub(super) used: bool,
}

impl Gpu {
    /// Looks below `root`, which is `/` but in tests.
    pub(super) fn look(root: &Path) -> Self {
        let entries = |folder: &str| fs::read_dir(root.join(folder)).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let mut found: Vec<String> = entries("proc/driver/nvidia/gpus")
            .filter_map(|gpu| field(&read(&gpu.join("information")), "Model").map(str::to_owned))
            .collect();
        let driver = read(&root.join("proc/driver/nvidia/version"));
        let nvidia_driver =
            driver.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')).map(str::to_owned);
        if found.is_empty() {
            for device in entries("sys/bus/pci/devices") {
                // Display controllers, by PCI's classes.
                if read(&device.join("class")).starts_with("0x03") {
                    found.push(match read(&device.join("vendor")).trim() {
                        "0x10de" => "NVIDIA, without its driver".to_owned(),
                        "0x1002" => "AMD".to_owned(),
                        "0x8086" => "Intel".to_owned(),
                        other => format!("a display controller of PCI vendor {other}"),
                    });
                }
            }
        }
        found.sort();
        Self { found, nvidia_driver, used: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_described_as_linux_does() {
        let text = "processor\t: 0\nmodel name\t: A 9000\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu avx2 fma avx512f amx_tile\n\n\
                    processor\t: 1\nmodel name\t: A 9000\nphysical id\t: 0\ncore id\t\t: 0\n\n\
                    processor\t: 2\nphysical id\t: 0\ncore id\t\t: 1\n";
        assert_eq!((field(text, "model name"), cores(text)), (Some("A 9000"), Some(2)));
        assert_eq!(features(text), ["avx2", "fma", "avx512f", "amx_tile"]);
        assert_eq!((cores("processor : 0\n"), features("")), (None, vec![]));
    }

    #[test]
    fn gpus_are_found_by_the_driver_or_on_the_bus() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(Gpu::look(root.path()), Gpu { found: vec![], nvidia_driver: None, used: false });
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("one")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
        write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
        write("sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n");
        write("sys/bus/pci/devices/0000:02:00.0/vendor", "0x10de\n");
        assert_eq!(Gpu::look(root.path()).found, ["NVIDIA, without its driver"]);
        write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 2\nGCC version: 12.2.0\n");
        write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n");
        let gpu = Gpu::look(root.path());
        assert_eq!((gpu.found, gpu.nvidia_driver.as_deref()), (vec!["NVIDIA H100 80GB HBM3".to_owned()], Some("570.86.15")));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(write_problem(&folder.path().join("a/b")), None);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing is left behind");
        fs::write(folder.path().join("file"), "").expect("written");
        assert!(write_problem(&folder.path().join("file/below")).is_some());
    }
}
