//! A limit on memory, as a container has one: a cgroup of its own. Making one needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use e2e::Failure;
use e2e::cgroup::memory_hierarchy;

/// A cgroup that holds one server. Dropping it removes it; the server must have ended before.
pub(crate) struct MemoryGroup {
    path: PathBuf,
}

impl MemoryGroup {
    pub(crate) fn new(limit: u64) -> Result<MemoryGroup, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench-scale-{}-{number}", std::process::id());
        let group = MemoryGroup { path: memory_hierarchy().join(name) };
        let limited = std::fs::create_dir(&group.path).and_then(|()| {
            // Of version 1, where it is that.
            let first = group.path.join("memory.limit_in_bytes");
            let file = if first.exists() { first } else { group.path.join("memory.max") };
            std::fs::write(file, limit.to_string())
        });
        limited.map_err(|error| format!("cannot limit memory by {}: {error}", group.path.display()))?;
        Ok(group)
    }

    /// A command whose process is in the group from its first instruction on.
    pub(crate) fn command(&self, program: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
        command.arg(self.path.join("cgroup.procs")).arg(program).args(arguments);
        command
    }

    /// Whether the kernel ended a process of the group for its memory.
    pub(crate) fn has_killed(&self) -> bool {
        ["memory.oom_control", "memory.events"].iter().any(|file| {
            let text = std::fs::read_to_string(self.path.join(file)).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.is_some_and(|kills| kills != "0")
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A size as a manifest writes it: `128Mi`.
pub(crate) fn mebibytes(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("Mi").and_then(|number| number.parse::<u64>().ok());
    number.map(|number| number << 20).ok_or_else(|| format!("expected a size like 128Mi, found {text:?}"))
}
