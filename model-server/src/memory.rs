//! How much memory this process has, may have, and had at most.

mod watch;

use std::fmt;
use std::fs;
use std::path::Path;

pub use self::watch::Watch;

/// Memory that the process may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Resident bytes.
    pub bytes: u64,
    /// Where the number comes from, for people.
    pub source: String,
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", Size(self.bytes), self.source)
    }
}

/// What the process may take: what is asked for, or what the control group, the machine and the limit of the address
/// space leave, less a tenth, less what request bodies may take. `None` where nothing says.
pub fn budget(asked: Option<u64>, for_bodies: u64) -> Option<MemoryBudget> {
    if let Some(bytes) = asked {
        return Some(MemoryBudget { bytes, source: FLAG.to_owned() });
    }
    let limits = [control_group(Path::new("/")), machine(), address_space()];
    let (bytes, source) = limits.into_iter().flatten().min_by_key(|(bytes, _)| *bytes)?;
    Some(MemoryBudget { bytes: less_headroom(bytes, for_bodies), source: source.to_owned() })
}

/// What the process must not go beyond: what is asked for, or nearly what the kernel ends it at. `None` where nothing
/// says.
pub fn limit(asked: Option<u64>) -> Option<MemoryBudget> {
    if let Some(bytes) = asked {
        return Some(MemoryBudget { bytes, source: FLAG.to_owned() });
    }
    let limits = [control_group(Path::new("/")), machine()];
    let (bytes, source) = limits.into_iter().flatten().min_by_key(|(bytes, _)| *bytes)?;
    Some(MemoryBudget { bytes: bytes - bytes / 20, source: source.to_owned() })
}

const FLAG: &str = "--max-memory";

/// Half of it stays in any case.
fn less_headroom(bytes: u64, for_bodies: u64) -> u64 {
    (bytes - bytes / 10).saturating_sub(for_bodies).max(bytes / 2)
}

type Limit = (u64, &'static str);

/// The smallest limit of the process's control groups, of either version, and of those above them.
fn control_group(root: &Path) -> Option<Limit> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        // number:controllers:path; version 2 names no controllers.
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let mount = root.join(mount);
        // In a container the path may be the host's, which is not there; its own group is at the root then.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| number(&fs::read_to_string(mount.join(group).join(file)).ok()?)).min()
    });
    limits.filter(|bytes| *bytes < NO_LIMIT).min().map(|bytes| (bytes, "the control group's limit"))
}

/// `max`, which version 2 says where there is no limit, is not a number; version 1 has a very large one.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

const NO_LIMIT: u64 = 1 << 60;

/// What the machine has left, and what this process has already.
fn machine() -> Option<Limit> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    Some((field(&info, "MemAvailable:")? + resident()?, "the machine's free memory"))
}

/// What a limit of the address space (`ulimit -v`) leaves, as resident memory: not all that is mapped is.
fn address_space() -> Option<Limit> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let soft = number(line.split_whitespace().next()?)?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let left = soft.saturating_sub(field(&status, "VmSize:")?);
    Some((left + field(&status, "VmRSS:")?, "the limit of the address space"))
}

/// A field of a file of `/proc` that counts in kibibytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// Resident bytes of this process.
pub fn resident() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of this process that the kernel cannot take back, as it can pages of files.
fn anonymous() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// The most resident bytes since the last [`restart_peak`], or since the start where the kernel does not restart it.
pub fn peak() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Makes the peak what is resident now, if the kernel lets it.
pub fn restart_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A number of bytes, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.0 as f64 / f64::from(1 << 20);
        if mebibytes < 1024.0 {
            write!(f, "{mebibytes:.0} MiB")
        } else {
            write!(f, "{:.1} GiB", mebibytes / 1024.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, content).expect("writable");
        }
        root
    }

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        control_group(root(files).path()).map(|(bytes, _)| bytes)
    }

    #[test]
    fn the_smallest_limit_of_the_control_group_and_those_above_it_holds() {
        let own = ("proc/self/cgroup", "0::/kubepods/pod1/web\n");
        let at = |folder: &str| format!("sys/fs/cgroup/{folder}memory.max");
        let [pod, container, top] = [at("kubepods/pod1/"), at("kubepods/pod1/web/"), at("")];
        assert_eq!(limit(&[own, (&pod, "1000\n"), (&container, "max\n")]), Some(1000));
        assert_eq!(limit(&[own, (&pod, "1000\n"), (&container, "600\n")]), Some(600));
        assert_eq!(limit(&[own, (&container, "max\n")]), None);
        // A container with a control group namespace, and one that sees the host's path.
        assert_eq!(limit(&[("proc/self/cgroup", "0::/\n"), (&top, "700\n")]), Some(700));
        assert_eq!(limit(&[own, (&top, "700\n")]), Some(700));
    }

    #[test]
    fn the_first_version_of_control_groups_is_read_too() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/x\n0::/\n");
        let limit_of = |bytes| limit(&[own, ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", bytes)]);
        assert_eq!(limit_of("134217728\n"), Some(134_217_728));
        assert_eq!(limit_of("9223372036854771712\n"), None);
        assert_eq!(limit(&[own, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n")]), Some(500));
        assert_eq!(limit(&[]), None);
    }

    #[test]
    fn a_tenth_and_the_bodies_are_left_free_but_never_more_than_half() {
        assert_eq!(less_headroom(1000, 100), 800);
        assert_eq!(less_headroom(1000, 600), 500);
        assert_eq!(budget(Some(5), 1000).map(|budget| budget.bytes), Some(5));
    }

    #[test]
    fn this_process_has_memory_and_had_at_least_as_much() {
        let (resident, peak) = (resident().expect("Linux"), peak().expect("Linux"));
        assert!(resident > 0 && peak > 0);
        assert!(budget(None, 0).expect("Linux").bytes > 0);
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(Size(128 << 20).to_string(), "128 MiB");
        assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
    }
}
