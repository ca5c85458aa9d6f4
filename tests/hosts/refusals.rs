//! Ranks that do not belong: each is told so in a line, so is who keeps the rendezvous, and the job goes on without them.

use std::process::Command;

use super::exchange;
use super::job::{Job, Rank};
use super::network::{Family, Network};

#[test]
fn a_rank_with_another_token_is_refused() {
    let said = intruder(|command, job| {
        command.env("PHALANX_TOKEN_FILE", job.wrong_token());
    });
    assert_line(&said.intruder, &["rank 1", "10.77.0.1:7000", "token"]);
    assert_line(&said.keeper, &["10.77.0.2:", "turned away", "token"]);
}

#[test]
fn a_rank_of_a_job_of_another_size_is_refused() {
    let said = intruder(|command, _| {
        command.env("PHALANX_SIZE", "3");
    });
    assert_line(
        &said.intruder,
        &["rank 1", "10.77.0.1:7000", "another size"],
    );
    assert_line(&said.keeper, &["10.77.0.2:", "turned away", "another size"]);
}

#[test]
fn a_rank_of_a_number_that_there_is_not_is_refused() {
    let said = intruder(|command, _| {
        command.env("PHALANX_RANK", "2").env("PHALANX_SIZE", "3");
    });
    assert_line(&said.intruder, &["rank 2", "10.77.0.1:7000"]);
    assert_line(&said.keeper, &["10.77.0.2:", "turned away"]);
}

#[test]
fn a_rank_beyond_the_size_is_told_before_it_asks_anybody() {
    let network = Network::switched(1, 1500, Family::V4);
    let job = Job::new(&network, &[0, 0], exchange::ranks::greet);
    let end = job
        .start_rank(1, |command| {
            command.env("PHALANX_RANK", "2");
        })
        .finish();
    assert!(!end.status.success());
    assert_line(&end.said, &["PHALANX_RANK=2", "PHALANX_SIZE=2"]);
}

#[test]
fn the_second_of_two_ranks_with_one_number_is_refused() {
    let network = Network::switched(2, 1500, Family::V4);
    let job = Job::new(&network, &[0, 1, 1], exchange::ranks::greet);
    let mut keeper = job.start_rank(0, |_| ());
    let twins = [1, 1].map(|rank| job.start_rank(rank, |_| ()));
    keeper.await_line("turned away");
    // Now that one of them has gone, the job becomes complete.
    let last = job.start_rank(2, |_| ());
    let twins = twins.map(Rank::finish);
    for end in [keeper.finish(), last.finish()] {
        assert!(end.status.success(), "{}", end.told());
    }
    let [refused] = &twins
        .iter()
        .filter(|end| !end.status.success())
        .collect::<Vec<_>>()[..]
    else {
        panic!("{}\n{}", twins[0].told(), twins[1].told());
    };
    assert_line(&refused.said, &["rank 1", "10.77.0.1:7000", "come already"]);
}

struct Said {
    intruder: String,
    keeper: String,
}

/// Lets a rank 1 try that `change` makes wrong, then the right one; the job succeeds.
fn intruder(change: impl FnOnce(&mut Command, &Job<'_>)) -> Said {
    let network = Network::switched(2, 1500, Family::V4);
    let job = Job::new(&network, &[0, 1], exchange::ranks::greet);
    let mut keeper = job.start_rank(0, |_| ());
    let intruder = job.start_rank(1, |command| change(command, &job)).finish();
    assert!(!intruder.status.success(), "{}", intruder.told());
    keeper.await_line("turned away");
    let ranks: [Rank; 2] = [keeper, job.start_rank(1, |_| ())];
    let [keeper, right] = ranks.map(Rank::finish);
    assert!(keeper.status.success(), "{}", keeper.told());
    assert!(right.status.success(), "{}", right.told());
    Said {
        intruder: intruder.said,
        keeper: keeper.said,
    }
}

/// One line of what was said has all the words.
fn assert_line(said: &str, words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(said.lines().any(has_all), "no line has {words:?}: {said}");
}
