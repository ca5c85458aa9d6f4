//! The memory limit of a control group, reached while pools grow: an error that says so. The kernel would kill.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use phalanx_shm::{BlockMut, PoolError, Port, Segment, SegmentError, Shape};

use crate::{Child, argument, traffic};

const GROUP: &str = "PHALANX_TEST_GROUP";
const LIMIT: u64 = 64 << 20;
const RANKS: usize = 4;

/// A control group with a limit, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// Below the group of this process, so that what limits this limits that too.
    fn new(name: &str) -> Self {
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap();
        let first = Path::new("/sys/fs/cgroup/memory");
        let place = if first.exists() {
            below(first, path_in(&cgroup, "memory"))
        } else {
            let own = below(Path::new("/sys/fs/cgroup"), path_in(&cgroup, ""));
            // Of the second version, a group that holds processes has none below it but the uppermost: go up to one that hands on memory.
            let hands_on = |group: &&Path| {
                let file = group.join("cgroup.subtree_control");
                fs::read_to_string(file).is_ok_and(|text| text.contains("memory"))
            };
            own.ancestors().find(hands_on).unwrap_or(&own).to_owned()
        };
        let folder = place.join(format!("phalanx-test-{}-{name}", Pid::this()));
        let what =
            "this test makes a control group and needs root and a /sys/fs/cgroup that is writable";
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("{what}: {error} for {}", folder.display()));
        let group = Self(folder);
        let (limit, swap) = if first.exists() {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        } else {
            ("memory.max", "memory.swap.max")
        };
        fs::write(group.0.join(limit), LIMIT.to_string())
            .unwrap_or_else(|error| panic!("{what}: {error} for {limit}"));
        // Kernels without swap have no such file, and need none.
        let allowed = if first.exists() { LIMIT } else { 0 };
        let _ = fs::write(group.0.join(swap), allowed.to_string());
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was reaped a moment ago may still be counted.
        while fs::remove_dir(&self.0)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy)
        {
            std::thread::yield_now();
        }
    }
}

/// The path of this process's group in the hierarchy of `controller`.
fn path_in<'a>(cgroup: &'a str, controller: &str) -> &'a str {
    let mut groups = cgroup.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    groups.next().expect("every process is in a group")
}

/// A group as it is to be found below a mount; in a container that shows a part of the hierarchy, the mount itself.
fn below(mount: &Path, path: &str) -> PathBuf {
    let place = mount.join(path.trim_start_matches('/'));
    if place.exists() {
        place
    } else {
        mount.to_owned()
    }
}

/// All ranks grow at the same time, each until it is told that there is no more; nobody is killed.
#[test]
fn pools_that_reach_the_memory_limit_get_an_error_that_names_it() {
    let group = Group::new("pools");
    let segment = Segment::create(&Shape {
        ranks: RANKS,
        arena_bytes: 1 << 30,
    })
    .unwrap();
    let ranks: Vec<_> = (0..RANKS)
        .map(|rank| Child::in_group("memory_limit", &segment, rank as u64, GROUP, &group.0))
        .collect();
    for rank in ranks {
        assert!(
            rank.succeeds(),
            "killed, or see the output of the child above"
        );
    }
}

pub(crate) fn fill() {
    join_group();
    let me = usize::try_from(argument()).unwrap();
    let mut port = traffic::inherited_rank(me);
    let mut kept: Vec<BlockMut> = Vec::new();
    for len in [3 << 20, 300_000, 100] {
        let error = loop {
            match port.pool().take(len) {
                Ok(block) => kept.push(block),
                Err(error) => break error,
            }
        };
        check(&error);
    }
    assert!(!kept.is_empty());
    // What was taken is there, and a peer that nothing was sent to yet can still be told.
    kept.iter_mut().for_each(|block| block.fill(1));
    let peer = (me + 1) % RANKS;
    assert!(port.try_push(peer, &[0; 8]).unwrap());
    give_back(&mut port, &mut kept);
}

/// The heap of a process has the same limit, and the segment on it the same answer.
#[test]
fn a_segment_on_the_heap_that_reaches_the_memory_limit_gets_the_same_error() {
    let group = Group::new("heap");
    let mut command = Child::command("heap_limit");
    command.env(GROUP, &group.0);
    assert!(
        Child::start(command).succeeds(),
        "killed, or see the output of the child above"
    );
}

pub(crate) fn fill_heap() {
    join_group();
    let segment = Segment::within_process(&Shape {
        ranks: 2,
        arena_bytes: 1 << 30,
    })
    .unwrap();
    let mut port = traffic::attach(&std::sync::Arc::new(segment), 0);
    let mut kept = Vec::new();
    let error = loop {
        match port.pool().take(1 << 20) {
            Ok(block) => kept.push(block),
            Err(error) => break error,
        }
    };
    check(&error);
    kept.iter_mut().for_each(|block| block.fill(1));
    give_back(&mut port, &mut kept);
}

fn join_group() {
    let group = PathBuf::from(std::env::var_os(GROUP).unwrap());
    fs::write(group.join("cgroup.procs"), Pid::this().to_string()).unwrap();
}

fn check(error: &PoolError) {
    let PoolError::Segment(SegmentError::MemoryLimit { limit, file, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(*limit, LIMIT);
    assert_eq!(fs::read_to_string(file).unwrap().trim(), LIMIT.to_string());
    let text = error.to_string();
    assert!(
        text.contains("phalanx-test-") && text.contains("PHALANX_POOL_LIMIT"),
        "{text}"
    );
}

/// What is given back can be taken again, however full the group is.
fn give_back(port: &mut Port, kept: &mut Vec<BlockMut>) {
    let len = kept.pop().expect("something was taken").len();
    port.pool().take(len).unwrap();
}
