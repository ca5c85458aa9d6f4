//! Limits in plain files, as control groups of both versions show them.

use std::fs;
use std::path::PathBuf;

use super::{Budget, Files, Group, Shortage, VERSION_1, VERSION_2, groups, swap_free};

/// A folder with groups in it, removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("phalanx-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, file: &str, text: &str) -> &Self {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn budget(&self, groups: &[&str], files: &'static Files) -> Budget {
        Budget {
            groups: groups
                .iter()
                .map(|group| Group {
                    folder: self.0.join(group),
                    files,
                })
                .collect(),
            meminfo: self.0.join("meminfo"),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn what_fits_under_each_limit_is_allowed_and_nothing_more() {
    let tree = Tree::new("levels");
    tree.write("a/b/memory.max", "max\n")
        .write("a/b/memory.current", "900\n")
        .write("a/memory.max", "100000\n")
        .write("a/memory.current", "60000\n")
        .write(
            "a/memory.stat",
            "anon 5\ninactive_file 7000\nactive_file 3000\nfile 44444\nslab_reclaimable 500\n",
        );
    let budget = tree.budget(&["a/b", "a", "."], &VERSION_2);
    assert_eq!(budget.allow(40_000, 0), Ok(()));
    assert_eq!(budget.allow(50_500, 0), Ok(()), "cached files give way");
    let shortage = Shortage {
        file: tree.0.join("a/memory.max"),
        limit: 100_000,
        used: 49_500,
    };
    assert_eq!(budget.allow(50_501, 0), Err(shortage));
    // The reserve counts, but not for more than an eighth of the limit.
    assert_eq!(budget.allow(49_500, 1000), Ok(()));
    assert!(budget.allow(49_501, 1000).is_err());
    assert_eq!(budget.allow(38_000, u64::MAX), Ok(()));
    assert!(budget.allow(38_001, u64::MAX).is_err());
    assert!(budget.allow(u64::MAX, u64::MAX).is_err());
}

#[test]
fn limits_are_read_anew() {
    let tree = Tree::new("anew");
    let budget = tree.budget(&["."], &VERSION_2);
    assert_eq!(budget.allow(u64::MAX, 0), Ok(()), "no files, no limits");
    tree.write("memory.max", "4096")
        .write("memory.current", "0");
    assert!(budget.allow(4097, 0).is_err());
    tree.write("memory.max", "8192");
    assert_eq!(budget.allow(4097, 0), Ok(()));
}

#[test]
fn the_first_version_has_other_names_and_no_word_for_no_limit() {
    let tree = Tree::new("first");
    tree.write("memory.limit_in_bytes", "9223372036854771712\n")
        .write("memory.usage_in_bytes", "500000\n")
        .write("memory.stat", "total_inactive_file 100\ninactive_file 9\n");
    let budget = tree.budget(&["."], &VERSION_1);
    assert_eq!(budget.allow(u64::MAX, 0), Ok(()));
    tree.write("memory.limit_in_bytes", "600000\n");
    assert_eq!(budget.allow(100_100, 0), Ok(()));
    assert!(budget.allow(100_101, 0).is_err());
}

#[test]
fn free_swap_is_room_as_far_as_the_group_may_use_it() {
    let tree = Tree::new("swap");
    tree.write("meminfo", "MemFree: 3 kB\nSwapFree:        8 kB\n")
        .write("two/memory.max", "1000")
        .write("two/memory.current", "1000")
        .write("one/memory.limit_in_bytes", "1000")
        .write("one/memory.usage_in_bytes", "900")
        .write("one/memory.memsw.limit_in_bytes", "3000")
        .write("one/memory.memsw.usage_in_bytes", "1400");
    let second = tree.budget(&["two"], &VERSION_2);
    assert_eq!(second.allow(8192, 0), Ok(()), "all that is free");
    assert!(second.allow(8193, 0).is_err());
    tree.write("two/memory.swap.max", "5000")
        .write("two/memory.swap.current", "4000");
    assert_eq!(second.allow(1000, 0), Ok(()));
    assert!(second.allow(1001, 0).is_err());
    // 100 are free in memory; of 2000 of swap, 500 are used.
    let first = tree.budget(&["one"], &VERSION_1);
    assert_eq!(first.allow(1600, 0), Ok(()));
    assert!(first.allow(1601, 0).is_err());
    tree.write("meminfo", "SwapFree: 0 kB\n");
    assert!(first.allow(101, 0).is_err());
    assert_eq!(swap_free("nonsense"), 0);
}

#[test]
fn groups_are_found_from_the_own_one_up_to_what_is_mounted() {
    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 31 0:32 /docker/7 /sys/fs/cgroup/my\\040memory rw,relatime shared:1 - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let found = |cgroup| {
        groups(cgroup, MOUNTS)
            .into_iter()
            .map(|group| (group.folder.to_str().unwrap().to_owned(), group.files.limit))
            .collect::<Vec<_>>()
    };
    let first = |folder: &str| (format!("/sys/fs/cgroup/my memory{folder}"), VERSION_1.limit);
    let second = |folder: &str| (format!("/sys/fs/cgroup/unified{folder}"), VERSION_2.limit);
    assert_eq!(
        found("4:cpu,memory:/docker/7/job/step\n1:cpu:/x\n0::/a:b\n"),
        [
            first("/job/step"),
            first("/job"),
            first(""),
            second("/a:b"),
            second("")
        ]
    );
    assert_eq!(
        found("4:memory:/elsewhere\n"),
        [first("/")],
        "hidden, but not what is above"
    );
    assert_eq!(found("0::/../../job\n").last(), Some(&second("")));
    assert_eq!(found("nonsense\n\n::\n"), [second("/")]);
    assert!(groups("4:memory:/a\n0::/\n", "nonsense").is_empty());
}
