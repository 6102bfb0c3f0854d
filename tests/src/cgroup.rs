//! Control groups of the kernel.

use std::path::{Path, PathBuf};

/// The folder of the hierarchy that limits memory: `memory` of version 1, or the only one of version 2.
pub fn memory_hierarchy() -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    let first = root.join("memory");
    if first.is_dir() { first } else { root.to_owned() }
}
