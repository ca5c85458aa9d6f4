//! A program that runs job after job keeps no descriptor and no child of them. Alone in its file, because it counts those of
//! the whole process.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;

use phalanx_launch::{Ending, Job, LaunchError, Output, Plan, Program};

#[test]
fn fifty_jobs_leave_no_descriptor_and_no_child() {
    let run = |ranks: usize, program: Program| {
        let plan = Plan::new(ranks, program).unwrap();
        Job::new(plan).output(Output::Capture).run()
    };
    let shell = |script: &str| Program::new("/bin/sh").argument("-c").argument(script);
    let before = descriptors();
    for round in 0..50 {
        let outcome = match round % 3 {
            0 => run(4, shell("echo fine")).unwrap(),
            1 => run(
                4,
                shell("[ $PHALANX_RANK = 1 ] && kill -SEGV $$; exec sleep 1000"),
            )
            .unwrap(),
            _ => {
                let error = run(4, Program::new("/nonexistent")).unwrap_err();
                assert!(
                    matches!(error, LaunchError::NotFound { rank: 0, .. }),
                    "{error:?}"
                );
                continue;
            }
        };
        assert_eq!(
            outcome.ending == Ending::Success,
            round % 3 == 0,
            "{outcome:?}"
        );
    }
    assert_eq!(descriptors(), before);
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "");
}

/// What the open descriptors of this process are, but for the one that lists them.
fn descriptors() -> Vec<String> {
    let targets = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()));
    let mut targets: Vec<_> = targets
        .flatten()
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    targets.retain(|target| !target.ends_with("/fd"));
    targets.sort();
    targets
}
