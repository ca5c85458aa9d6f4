//! The machine as this process may use it: processors, caches, and the limits that a job can hit.
//!
//! What cannot be found out is left out: a container may hide any of it.

use std::fs;
use std::path::Path;
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, SysconfVar, sysconf};
use phalanx::config::parse_size;
use serde::Serialize;

/// Processors and caches.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) host: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) processor: Option<String>,
    /// Cores that are switched on.
    pub(super) cores: Option<u64>,
    /// Cores on which the ranks of a job may run.
    pub(super) allowed_cores: Vec<usize>,
    /// Of these, as many as the quota of the container pays for.
    pub(super) usable_cores: Option<usize>,
    pub(super) caches: Vec<Cache>,
}

/// A cache of the first allowed core.
#[derive(Debug, Serialize)]
pub(super) struct Cache {
    pub(super) level: u64,
    pub(super) kind: String,
    pub(super) bytes: u64,
    /// The cores that share it, as the kernel lists them.
    pub(super) cores: String,
}

/// What a job can run out of; in bytes where nothing else is said, `None` for what has no limit or is not known.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    pub(super) memory_total: Option<u64>,
    pub(super) memory_available: Option<u64>,
    pub(super) cgroup_memory_max: Option<u64>,
    /// Only named segments lie there.
    pub(super) dev_shm_size: Option<u64>,
    pub(super) dev_shm_free: Option<u64>,
    pub(super) address_space: Option<u64>,
    pub(super) file_size: Option<u64>,
    pub(super) locked_memory: Option<u64>,
    /// How many, and how many it can be raised to.
    pub(super) open_files: Option<u64>,
    pub(super) open_files_at_most: Option<u64>,
    pub(super) processes: Option<u64>,
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled`
    pub(super) shared_huge_pages: Option<String>,
    pub(super) membarrier: bool,
}

impl Machine {
    pub(super) fn here() -> Self {
        let allowed_cores = allowed_cores();
        let first = allowed_cores.first().copied().unwrap_or(0);
        Self {
            host: word("/proc/sys/kernel/hostname"),
            kernel: word("/proc/sys/kernel/osrelease"),
            processor: field("/proc/cpuinfo", "model name"),
            cores: sysconf(SysconfVar::_NPROCESSORS_ONLN)
                .ok()
                .flatten()
                .and_then(|cores| u64::try_from(cores).ok()),
            usable_cores: thread::available_parallelism().ok().map(usize::from),
            caches: caches(&format!("/sys/devices/system/cpu/cpu{first}/cache")),
            allowed_cores,
        }
    }
}

impl Limits {
    pub(super) fn here() -> Self {
        let soft = |resource| {
            getrlimit(resource)
                .ok()
                .map(|(soft, _)| soft)
                .filter(is_limit)
        };
        let shm = statvfs("/dev/shm").ok();
        let kibibytes = |name| parse_size(field("/proc/meminfo", name)?.trim_end_matches('B')).ok();
        Self {
            memory_total: kibibytes("MemTotal"),
            memory_available: kibibytes("MemAvailable"),
            cgroup_memory_max: cgroup_memory_max(Path::new("/sys/fs/cgroup")),
            dev_shm_size: shm.map(|shm| shm.blocks() * shm.fragment_size()),
            dev_shm_free: shm.map(|shm| shm.blocks_available() * shm.fragment_size()),
            address_space: soft(Resource::RLIMIT_AS),
            file_size: soft(Resource::RLIMIT_FSIZE),
            locked_memory: soft(Resource::RLIMIT_MEMLOCK),
            open_files: soft(Resource::RLIMIT_NOFILE),
            open_files_at_most: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(_, hard)| hard)
                .filter(is_limit),
            processes: soft(Resource::RLIMIT_NPROC),
            shared_huge_pages: word("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
                .and_then(|choices| chosen(&choices)),
            membarrier: phalanx_shm::membarrier_is_available(),
        }
    }
}

fn allowed_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count())
        .filter(|&core| set.is_set(core).unwrap_or(false))
        .collect()
}

fn caches(folder: &str) -> Vec<Cache> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut caches: Vec<_> = entries
        .filter_map(|entry| {
            let read = |name| {
                Some(
                    fs::read_to_string(entry.path().join(name))
                        .ok()?
                        .trim()
                        .to_owned(),
                )
            };
            Some(Cache {
                level: read("level")?.parse().ok()?,
                kind: read("type")?.to_lowercase(),
                bytes: parse_size(&read("size")?).ok()?,
                cores: read("shared_cpu_list")?,
            })
        })
        .collect();
    caches.sort_by(|a, b| (a.level, &a.kind).cmp(&(b.level, &b.kind)));
    caches
}

/// The least limit of this process's control groups: that of any group above it holds too.
fn cgroup_memory_max(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (folder, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = Path::new(group.trim_start_matches('/'));
        let limits = group.ancestors().filter_map(|group| {
            fs::read_to_string(folder.join(group).join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        });
        // Version 1 of control groups writes no limit as a number near the largest.
        limits.filter(|&limit: &u64| limit < 1 << 62).min()
    };
    groups.lines().filter_map(of).min()
}

fn word(file: &str) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

/// The value of a line `name: value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The word in brackets.
fn chosen(choices: &str) -> Option<String> {
    Some(choices.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn is_limit(limit: &u64) -> bool {
    *limit != nix::sys::resource::RLIM_INFINITY
}
