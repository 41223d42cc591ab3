//! How much memory this process may use, and uses.

use std::fs;
use std::path::Path;

/// A limit and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableMemory {
    /// Bytes that may still be used.
    pub bytes: u64,
    /// Where that comes from, for people.
    pub source: String,
}

/// What the system has left: `MemAvailable`, or what the control group leaves when that is less. `None` where neither can be read.
pub fn available() -> Option<AvailableMemory> {
    available_under(Path::new("/"))
}

fn available_under(root: &Path) -> Option<AvailableMemory> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok();
    let system = meminfo
        .and_then(|text| field_kib(&text, "MemAvailable:"))
        .map(|bytes| AvailableMemory { bytes, source: "MemAvailable in /proc/meminfo".to_owned() });
    system.into_iter().chain(control_group(root)).min_by_key(|limit| limit.bytes)
}

/// The most this process has had in memory, file pages included, in bytes.
pub fn peak_resident_bytes() -> Option<u64> {
    field_kib(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The value of a `Name:  123 kB` line, in bytes.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the tightest control group above this process leaves (version 2, then 1). Pages of files count as free, the kernel drops them.
fn control_group(root: &Path) -> Option<AvailableMemory> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (mount, maximum, current) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max", "memory.current"),
            c if c.split(',').any(|c| c == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
            _ => return None,
        };
        let mount = root.join(mount);
        let leaf = mount.join(path.trim_start_matches('/'));
        leaf.ancestors().take_while(|folder| folder.starts_with(&mount)).filter_map(|folder| group_limit(folder, maximum, current)).min()
    });
    limits.min().map(|bytes| AvailableMemory { bytes, source: "the memory limit of the control group".to_owned() })
}

fn group_limit(folder: &Path, maximum: &str, current: &str) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // Version 2 says `max`, version 1 a number near 2^63, for no limit.
    let maximum = number(maximum).filter(|bytes| *bytes < 1 << 60)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let droppable: u64 = statistics
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| matches!(*name, "inactive_file" | "active_file"))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum();
    Some(maximum.saturating_sub(number(current)?.saturating_sub(droppable)))
}

/// Bytes written as people do: `2500000000`, `2.5GB`, `800 MB`, `4GiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return Err(format!("expected a size such as 2.5GB or 800MiB, found {text:?}")),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * factor <= 1e18 => Ok((number * factor) as u64),
        _ => Err(format!("expected a size such as 2.5GB or 800MiB, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_counts() {
        let root = tempfile::tempdir().expect("temporary folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, text).expect("written");
        };
        assert_eq!(available_under(root.path()), None);
        write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:    500 kB\n");
        assert_eq!(available_under(root.path()).expect("found").bytes, 500 * 1024);
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/b/memory.current", "100\n");
        assert_eq!(available_under(root.path()).expect("found").bytes, 500 * 1024);
        write("sys/fs/cgroup/a/memory.max", "400000\n");
        write("sys/fs/cgroup/a/memory.current", "150000\n");
        write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 30000\nactive_file 20000\n");
        let found = available_under(root.path()).expect("found");
        assert_eq!((found.bytes, found.source.as_str()), (300_000, "the memory limit of the control group"));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("1", 1), ("2.5GB", 2_500_000_000), ("800 MB", 800_000_000), ("4gib", 4 << 30), ("1k", 1000)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1.2.3", "3 apples", "99999999TB", "0"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_some_memory() {
        let before = peak_resident_bytes().expect("Linux says");
        assert!(before > 100_000, "{before}");
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_resident_bytes().expect("Linux says") >= before.max(touched.len() as u64));
    }
}
