//! Ranks that nobody launched: they meet in a segment by its name.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness;

#[test]
fn ranks_meet_by_name_and_the_name_goes_when_all_have_come() {
    let name = format!("segment-of-test-{}", std::process::id());
    let ranks: Vec<Child> = (0..3).map(|rank| start(rank, 3, &name)).collect();
    for rank in ranks {
        let output = rank.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    assert!(!Path::new("/dev/shm").join(&name).exists());
}

#[test]
fn a_stream_that_is_not_there_is_named() {
    let rank = start_with(0, 2, ("PHALANX_RENDEZVOUS", "fd:9"));
    let output = rank.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("could not take over the stream of its launcher"),
        "{said}"
    );
}

fn start(rank: usize, size: usize, name: &str) -> Child {
    start_with(rank, size, ("PHALANX_SEGMENT", &format!("name:{name}")))
}

fn start_with(rank: usize, size: usize, (variable, value): (&str, &str)) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(harness::arguments(&ranks::meet))
        .env("PHALANX_RANK", rank.to_string())
        .env("PHALANX_SIZE", size.to_string())
        .env(variable, value)
        .env("PHALANX_ARENA", "64MiB")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn meet() {
        harness::rank(|world| {
            let (me, size) = (world.rank(), world.size());
            let (right, left) = ((me + 1) % size, (me + size - 1) % size);
            world.barrier()?;
            let name = std::env::var("PHALANX_SEGMENT").unwrap();
            let name = name.strip_prefix("name:").unwrap();
            assert!(!Path::new("/dev/shm").join(name).exists(), "all have come");
            for len in [1, 1_000, 1_000_000] {
                let mut got = vec![0_u32; len];
                world.sendrecv((right, 0), &vec![me as u32; len][..], (left, 0), &mut got)?;
                assert_eq!(got, vec![left as u32; len]);
            }
            Ok(())
        });
    }
}
