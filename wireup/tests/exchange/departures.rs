//! Losses, aborts and farewells: who is told what.

use std::task::Poll;

use phalanx_wireup::exchange::{AgentEvent, Failure, Loss, ProcessEnd, RankSet, Scope, Who};
use proptest::prelude::*;

use crate::simulation::{Simulation, card};

/// Six ranks on three hosts in a row, of which all but the last have come to the fence.
fn waiting() -> Simulation {
    let mut job = Simulation::new(3, 2, 1);
    for rank in 0..5 {
        job.ranks[rank].put(card(0)).unwrap();
        job.ranks[rank].start_fence(Scope::Job).unwrap();
    }
    job.settle();
    job
}

fn lost(who: Who, ranks: impl Into<RankSet>, cause: &str) -> Poll<Result<(), Failure>> {
    Poll::Ready(Err(Failure::Lost(Loss::new(who, ranks.into(), cause))))
}

#[test]
fn a_lost_rank_ends_fences_and_gets_of_its_card_with_its_name() {
    let mut job = waiting();
    job.ranks[0].start_get(5).unwrap();
    job.ranks[1].start_get(4).unwrap();
    job.agents[2].handle_closed(Who::Rank(5), "killed by signal 9");
    job.settle();
    let expected = lost(Who::Rank(5), 5..6, "killed by signal 9");
    for rank in 0..5 {
        assert_eq!(job.ranks[rank].poll_fence(Scope::Job), expected);
    }
    assert_eq!(job.ranks[0].poll_get(5).map(|got| got.map(drop)), expected);
    assert!(
        matches!(job.ranks[1].poll_get(4), Poll::Ready(Ok(_))),
        "others go on"
    );
    assert!(job.ranks[0].start_get(5).is_err());
    assert!(job.ranks[0].start_fence(Scope::Job).is_err());
    let text = job.ranks[0].losses()[0].to_string();
    assert_eq!(text, "rank 5 was lost: killed by signal 9");
}

#[test]
fn how_a_process_ended_reaches_all() {
    let mut job = waiting();
    job.agents[2].handle_death(5, ProcessEnd::Signal(9));
    job.settle();
    for rank in 0..5 {
        let [loss] = job.ranks[rank].losses() else {
            panic!("rank {rank} was not told");
        };
        assert_eq!(loss.end, Some(ProcessEnd::Signal(9)));
        assert_eq!(loss.to_string(), "rank 5 was lost: killed by signal 9");
    }
}

#[test]
fn all_are_told_who_has_left_also_those_who_come_later() {
    let mut job = Simulation::new(3, 2, 1);
    for rank in [0, 1, 2, 4] {
        job.ranks[rank].put(card(0)).unwrap();
    }
    // Rank 3 has not said a word yet when the first leave.
    job.held = Some(3);
    job.ranks[4].leave();
    job.settle();
    for rank in [0, 1, 2, 5] {
        assert_eq!(job.ranks[rank].left(), &RankSet::from(4..5), "rank {rank}");
        assert!(job.ranks[rank].losses().is_empty());
    }
    job.ranks[0].leave();
    job.ranks[1].leave();
    job.settle();
    let gone: RankSet = [0, 1, 4].into_iter().collect();
    assert_eq!(job.ranks[5].left(), &gone);
    job.held = None;
    job.settle();
    assert_eq!(job.ranks[3].left(), &gone);
}

#[test]
fn a_host_without_losses_keeps_its_fences() {
    let mut job = waiting();
    job.agents[2].handle_closed(Who::Rank(5), "killed");
    job.settle();
    for rank in &mut job.ranks[..2] {
        rank.start_fence(Scope::Host).unwrap();
    }
    job.settle();
    assert_eq!(job.ranks[0].poll_fence(Scope::Host), Poll::Ready(Ok(())));
    assert!(job.ranks[4].start_fence(Scope::Host).is_err());
}

#[test]
fn a_lost_agent_takes_all_ranks_below_it_along() {
    let mut job = waiting();
    // Agent 2 is below agent 1, which is below agent 0.
    job.agents[0].handle_closed(Who::Agent(1), "its connection was closed");
    job.agents[1].handle_closed(Who::Agent(0), "its connection was closed");
    job.settle();
    let expected = lost(Who::Agent(1), 2..6, "its connection was closed");
    for rank in 0..2 {
        assert_eq!(job.ranks[rank].poll_fence(Scope::Job), expected);
    }
    for rank in 2..6 {
        let Some(Failure::Aborted(abort)) = job.ranks[rank].end() else {
            panic!("rank {rank} was not told");
        };
        assert_eq!(abort.by, Who::Agent(1));
        assert!(abort.text.contains("agent 0"), "{abort}");
    }
}

#[test]
fn a_rank_that_never_came_is_a_loss_too() {
    let mut job = Simulation::new(2, 1, 2);
    job.agents[1].handle_closed(Who::Rank(1), "exited with code 2 before it joined");
    job.put_all_but_last();
    job.settle();
    let Poll::Ready(Err(error)) = job.ranks[0].poll_fence(Scope::Job) else {
        panic!("the fence still waits");
    };
    assert!(
        error
            .to_string()
            .contains("rank 1 was lost: exited with code 2"),
        "{error}"
    );
}

#[test]
fn who_comes_after_a_loss_or_an_abort_is_told_of_it() {
    let mut job = Simulation::new(2, 2, 2);
    job.root.handle_closed(Who::Agent(1), "ssh ended");
    job.agents[1].handle_closed(Who::Root, "ssh ended");
    job.root.abort(3, "stop");
    job.settle();
    let rank = &mut job.ranks[0];
    assert_eq!(rank.losses().len(), 1);
    assert!(matches!(rank.end(), Some(Failure::Aborted(abort)) if abort.code == 3));
    assert!(rank.put(card(0)).is_err());
}

#[test]
fn an_abort_of_one_ends_all() {
    let mut job = waiting();
    job.ranks[5].abort(7, "no input").unwrap();
    job.settle();
    for rank in &job.ranks {
        let Some(Failure::Aborted(abort)) = rank.end() else {
            panic!("{} goes on", rank.rank());
        };
        assert_eq!(
            abort.to_string(),
            "rank 5 aborted the job with code 7: no input"
        );
    }
    assert!(job.ranks[0].poll_fence(Scope::Job).is_ready());
    assert!(matches!(job.root.poll_event(), Some(AgentEvent::Aborted(abort)) if abort.code == 7));
}

#[test]
fn a_lost_agent_ends_what_its_rank_waits_for() {
    let mut job = waiting();
    job.ranks[0].start_get(5).unwrap();
    job.ranks[0].handle_closed("the stream was closed");
    let Poll::Ready(Err(error)) = job.ranks[0].poll_get(5) else {
        panic!("the get still waits");
    };
    assert!(
        error.to_string().starts_with("rank 0 lost its agent"),
        "{error}"
    );
    assert!(job.ranks[0].poll_fence(Scope::Job).is_ready());
    assert_eq!(job.ranks[0].poll_frame(), None);
}

#[test]
fn leaving_is_no_loss() {
    let mut job = Simulation::new(3, 2, 1);
    job.put_all();
    job.settle();
    for rank in 1..6 {
        job.ranks[rank].leave();
    }
    job.settle();
    job.agents[2].handle_closed(Who::Rank(5), "closed");
    job.ranks[0].start_get(5).unwrap();
    job.settle();
    assert!(matches!(job.ranks[0].poll_get(5), Poll::Ready(Ok(_))));
    assert!(job.root.losses().is_empty() && !job.root.is_finished());
    job.ranks[0].leave();
    job.settle();
    assert!(job.root.is_finished());
    let events: Vec<_> = std::iter::from_fn(|| job.root.poll_event()).collect();
    assert_eq!(
        events,
        [AgentEvent::Passed(Scope::Job), AgentEvent::Finished]
    );
}

#[test]
fn a_fence_that_others_have_left_for_good_fails() {
    for leavers in [vec![5], vec![4, 5]] {
        let mut job = Simulation::new(3, 2, 1);
        job.put_all();
        job.settle();
        for rank in &leavers {
            job.ranks[*rank].leave();
        }
        for rank in (0..6).filter(|rank| !leavers.contains(rank)) {
            job.ranks[rank].start_fence(Scope::Job).unwrap();
        }
        job.settle();
        let Poll::Ready(Err(Failure::Lost(loss))) = job.ranks[0].poll_fence(Scope::Job) else {
            panic!("the fence waits for {leavers:?}");
        };
        assert!(
            loss.ranks.contains(5) && loss.cause.contains("left"),
            "{loss}"
        );
    }
}

#[test]
fn a_long_cause_is_cut_between_characters() {
    let mut job = Simulation::new(1, 2, 1);
    job.settle();
    job.agents[0].handle_closed(Who::Rank(1), &"\u{e9}".repeat(2000));
    job.settle();
    assert_eq!(job.ranks[0].losses()[0].cause, "\u{e9}".repeat(512));
}

impl Simulation {
    fn put_all_but_last(&mut self) {
        let (_, others) = self.ranks.split_last_mut().unwrap();
        for rank in others {
            rank.put(card(0)).unwrap();
            rank.start_fence(Scope::Job).unwrap();
        }
        // The last one says nothing, not even its name.
        let last = self.ranks.last_mut().unwrap();
        last.handle_closed("it never started");
    }
}

proptest! {
    /// A loss and a passed fence come in one order to all, so that all agree on whether the fence was passed.
    #[test]
    fn all_survivors_agree_on_a_fence(seed: u64, frames in 0_usize..60, victim in 0_u32..8) {
        let mut job = Simulation::new(4, 2, 2);
        job.seed = Some(seed);
        job.put_all();
        job.settle_for(frames);
        job.agents[victim as usize / 2].handle_closed(Who::Rank(victim), "killed");
        job.ranks[victim as usize].handle_closed("killed");
        job.settle();
        let mut survivors = job.ranks.iter().filter(|rank| rank.rank() != victim);
        let first = survivors.next().unwrap().poll_fence(Scope::Job);
        prop_assert!(first.is_ready());
        prop_assert!(survivors.all(|rank| rank.poll_fence(Scope::Job) == first));
        prop_assert!(job.ranks.iter().all(|rank| rank.rank() == victim || rank.losses().len() == 1));
    }
}
