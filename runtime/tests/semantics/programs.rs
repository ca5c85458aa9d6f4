//! Random programs against an oracle of MPI's order.
//!
//! A program is a list of rounds, separated by barriers. In a round ranks send messages over several communicators, and each receiver
//! takes all that are meant for it, by patterns of one shape per communicator. Whatever the timing, the k-th message that receives of
//! one pattern take from one source must be the k-th that this source sent among those that the pattern fits: that is the oracle.
//!
//! No program can deadlock: either all receives are posted before anything is sent, or no send of the round waits.

mod plan;
mod rank;

use proptest::prelude::*;

use phalanx_runtime::config::Config;
use phalanx_runtime::testing::Job;

use crate::harness::{TINY, settings, tiny, watched};
use plan::{Program, program};

fn run_program(program: &Program, config: Config) {
    let said = format!("{program:?}");
    let job = Job::new(program.ranks).config(config);
    watched(
        move || said.clone(),
        || job.run(|world| rank::run(world, program)),
    );
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 250,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_programs_run_as_the_oracle_says(program in program()) {
        run_program(&program, Config::default());
    }

    #[test]
    fn random_programs_run_as_the_oracle_says_when_everything_runs_out(program in program()) {
        run_program(&program, tiny());
    }
}

proptest! {
    // Each makes keys, certificates and connections.
    #![proptest_config(ProptestConfig { cases: 40, ..cases() })]

    #[test]
    fn random_programs_run_as_the_oracle_says_over_quic(program in program()) {
        run_program(&program, settings(&[("transport.same_host", "quic")]));
    }

    #[test]
    fn random_programs_run_as_the_oracle_says_over_quic_when_everything_runs_out(program in program()) {
        run_program(&program, settings(&[TINY, &[("transport.same_host", "quic")]].concat()));
    }
}
