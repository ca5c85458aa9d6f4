//! What the memory limits of control groups leave to this process.
//!
//! Where a limit is reached the kernel does not refuse memory, it kills: populating pages (`MADV_POPULATE_WRITE`) at the limit of a
//! group ends in SIGKILL and not in ENOMEM, under version 1 and 2 alike. So whoever wants many pages asks here first. The answer is a
//! reading of files (`memory.max` and its neighbours, in the group of this process and all above it) and not a reservation; a reserve
//! for what others take meanwhile makes up for that.

use std::fs;
use std::path::{Path, PathBuf};

/// The control groups that may limit this process, from its own upwards.
#[derive(Debug)]
pub(crate) struct Budget {
    groups: Vec<Group>,
    /// `/proc/meminfo`, which knows how much swap is free.
    meminfo: PathBuf,
}

/// A limit that leaves too little.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The file that holds the limit.
    pub(crate) file: PathBuf,
    /// Bytes that the group may use.
    pub(crate) limit: u64,
    /// Bytes that it uses and cannot give up.
    pub(crate) used: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// Names of the files of one version.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Lines of `memory.stat` with what the kernel takes back before it kills.
    reclaimable: &'static [&'static str],
    swap_limit: &'static str,
    swap_used: &'static str,
    /// Whether those two count memory as well.
    swap_holds_memory: bool,
}

const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: &["total_inactive_file", "total_active_file"],
    swap_limit: "memory.memsw.limit_in_bytes",
    swap_used: "memory.memsw.usage_in_bytes",
    swap_holds_memory: true,
};

const VERSION_2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: &["inactive_file", "active_file", "slab_reclaimable"],
    swap_limit: "memory.swap.max",
    swap_used: "memory.swap.current",
    swap_holds_memory: false,
};

/// Version 1 has no word for "no limit" but a number beyond any memory.
const NO_LIMIT: u64 = 1 << 60;

/// The part of a limit that is kept in reserve at most.
const LARGEST_RESERVE: u64 = 8;

impl Budget {
    /// The groups of this process. Without any, or where they cannot be read, nothing is limited.
    pub(crate) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            groups: groups(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")),
            meminfo: PathBuf::from("/proc/meminfo"),
        }
    }

    /// Whether `wanted` bytes more, and `reserve` beside them, fit under every limit. Of a small limit less is kept in reserve.
    pub(crate) fn allow(&self, wanted: u64, reserve: u64) -> Result<(), Shortage> {
        self.groups.iter().try_for_each(|group| {
            // A file that is missing or says "max" limits nothing.
            let limit = group.number(group.files.limit);
            let Some(limit) = limit.filter(|&limit| limit < NO_LIMIT) else {
                return Ok(());
            };
            let Some(used) = group.number(group.files.used) else {
                return Ok(());
            };
            let needed = wanted.saturating_add(reserve.min(limit / LARGEST_RESERVE));
            if needed <= limit.saturating_sub(used) {
                return Ok(());
            }
            // Only now, for these files are long.
            let used = used.saturating_sub(group.reclaimable());
            let room = limit.saturating_sub(used) + group.swap(limit, &self.meminfo);
            if needed <= room {
                return Ok(());
            }
            let file = group.folder.join(group.files.limit);
            Err(Shortage { file, limit, used })
        })
    }
}

impl Group {
    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// Bytes of cached files and the like, which go when memory is wanted.
    fn reclaimable(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let fields = text.lines().filter_map(|line| line.split_once(' '));
        fields
            .filter(|(name, _)| self.files.reclaimable.contains(name))
            .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
            .sum()
    }

    /// Bytes that can still move to swap.
    fn swap(&self, limit: u64, meminfo: &Path) -> u64 {
        let free = swap_free(&fs::read_to_string(meminfo).unwrap_or_default());
        if free == 0 {
            return 0;
        }
        // Where swap is not counted, or has no limit, what is free is there.
        let (mut most, mut used) = (
            self.number(self.files.swap_limit).unwrap_or(u64::MAX),
            self.number(self.files.swap_used).unwrap_or(0),
        );
        if self.files.swap_holds_memory {
            most = most.saturating_sub(limit);
            used = used.saturating_sub(self.number(self.files.used).unwrap_or(0));
        }
        free.min(most.saturating_sub(used))
    }
}

/// The groups named by the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`, of both versions, each with those above it.
fn groups(cgroup: &str, mountinfo: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_unified = controllers.is_empty();
        if !is_unified && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        let Some((root, mount)) = mountinfo
            .lines()
            .find_map(|line| mount_of(line, is_unified))
        else {
            continue;
        };
        // What is mounted may be a part of the hierarchy; a group outside it is hidden, but not what is above both.
        let inside = Path::new(path)
            .strip_prefix(&root)
            .unwrap_or_else(|_| Path::new(""));
        let own = mount.join(inside);
        let files = if is_unified { &VERSION_2 } else { &VERSION_1 };
        let above = own
            .ancestors()
            .take_while(|place| place.starts_with(&mount));
        groups.extend(above.map(|folder| Group {
            folder: folder.to_owned(),
            files,
        }));
    }
    groups
}

/// Which part of the hierarchy a line of `mountinfo` mounts where, if it is the unified one or that of memory.
fn mount_of(line: &str, unified: bool) -> Option<(PathBuf, PathBuf)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let kind = system.next()?;
    let options = system.nth(1)?;
    let is_it = if unified {
        kind == "cgroup2"
    } else {
        kind == "cgroup" && options.split(',').any(|option| option == "memory")
    };
    let mut fields = mount.split(' ').skip(3);
    let path = |field: &str| PathBuf::from(field.replace("\\040", " "));
    let (root, place) = (path(fields.next()?), path(fields.next()?));
    is_it.then_some((root, place))
}

/// Free swap in bytes, as `/proc/meminfo` says.
fn swap_free(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("SwapFree:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
