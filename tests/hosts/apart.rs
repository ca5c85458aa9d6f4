//! Ranks of one host that have been put apart on purpose share no memory behind the back of whoever did so.

use phalanx::describe::Carrier;

use super::exchange;
use super::job::{self, Job};
use super::network::{Family, Network, mortal};
use crate::harness;

#[test]
fn ranks_in_different_namespaces_of_processes_talk_over_quic() {
    let network = Network::switched(1, 1500, Family::V4);
    let job = Job::new(&network, &[0, 0, 0], ranks::one_is_apart);
    let mut apart = mortal("unshare");
    apart.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    apart.arg(job::program());
    let ranks = [
        job.start_rank(0, |_| ()),
        job.start_rank(1, |_| ()),
        job.start_rank_by(2, apart, |_| ()),
    ];
    for rank in ranks {
        let end = rank.finish();
        assert!(end.status.success(), "{}", end.told());
    }
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn one_is_apart() {
        harness::rank(|world| {
            let me = world.rank();
            for rank in (0..world.size()).filter(|&rank| rank != me) {
                let expected = if me == 2 || rank == 2 {
                    Carrier::Quic
                } else {
                    Carrier::Shm
                };
                assert_eq!(world.carrier_to(rank)?, expected, "from {me} to {rank}");
            }
            exchange::everything(world)
        });
    }
}
