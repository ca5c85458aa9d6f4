//! The rules of ending a job, without a process and without waiting.

use super::*;

const GRACE: Duration = Duration::from_secs(2);

fn course(limit: Option<Duration>) -> (Course, Instant) {
    let now = Instant::now();
    (Course::new(now, limit, GRACE), now)
}

fn death(rank: usize, exit: Exit) -> Death {
    let pid = 100 + u32::try_from(rank).unwrap();
    let host = None;
    Death {
        rank,
        pid,
        host,
        exit,
    }
}

#[test]
fn ranks_that_succeed_are_no_news() {
    let (mut course, now) = course(None);
    let orders = course.exited(&[death(0, Exit::Code(0)), death(1, Exit::Code(0))], now);
    assert_eq!(orders, Orders::default());
    assert_eq!(course.into_ending(), Ending::Success);
}

#[test]
fn the_first_failure_ends_the_others() {
    let (mut course, now) = course(None);
    let orders = course.exited(&[death(3, Exit::Code(7))], now);
    assert_eq!(orders.signal, Some(Signal::SIGTERM));
    assert_eq!(orders.notices, ["rank 3 (pid 103) exited with code 7"]);
    let orders = course.exited(&[death(1, Exit::Code(9)), death(2, Exit::Signal(15))], now);
    assert_eq!(orders, Orders::default(), "consequences are not named");
    let exit = Exit::Code(7);
    assert_eq!(course.into_ending(), Ending::RankFailed { rank: 3, exit });
}

#[test]
fn a_crash_comes_before_the_errors_it_caused() {
    let (mut course, now) = course(None);
    let deaths = [
        death(0, Exit::Code(1)),
        death(5, Exit::Signal(11)),
        death(6, Exit::Signal(6)),
    ];
    let orders = course.exited(&deaths, now);
    let named = [
        "rank 5 (pid 105) was killed by signal 11 (SIGSEGV)",
        "rank 6 (pid 106) was killed by signal 6 (SIGABRT)",
    ];
    assert_eq!(orders.notices, named);
    let exit = Exit::Signal(11);
    assert_eq!(course.into_ending(), Ending::RankFailed { rank: 5, exit });
}

#[test]
fn a_rank_killed_from_outside_is_named_even_by_the_signals_that_end_jobs() {
    for signal in [9, 15] {
        let (mut course, now) = course(None);
        let orders = course.exited(&[death(0, Exit::Signal(signal))], now);
        assert_eq!(orders.notices.len(), 1, "{orders:?}");
    }
}

#[test]
fn ranks_that_ignore_the_end_are_killed_after_the_grace() {
    let (mut course, now) = course(None);
    assert!(
        course
            .exited(&[death(0, Exit::Code(1))], now)
            .signal
            .is_some()
    );
    assert_eq!(course.deadline(), Some(now + GRACE));
    assert_eq!(course.tick(&[1, 2], now), Orders::default());
    let orders = course.tick(&[1, 2], now + GRACE);
    assert_eq!(orders.signal, Some(Signal::SIGKILL));
    assert_eq!(
        orders.notices,
        ["killed ranks 1-2, still running 2 s after SIGTERM"]
    );
    assert_eq!(course.deadline(), None);
}

#[test]
fn the_first_signal_is_forwarded_and_the_second_kills() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (mut course, now) = course(None);
        assert_eq!(course.interrupted(signal).signal, Some(signal));
        let orders = course.exited(
            &[
                death(0, Exit::Signal(signal as i32)),
                death(1, Exit::Code(1)),
            ],
            now,
        );
        assert_eq!(orders, Orders::default(), "ranks end as they like");
        assert_eq!(course.interrupted(signal).signal, Some(Signal::SIGKILL));
        let number = signal as i32;
        assert_eq!(course.into_ending(), Ending::Interrupted { signal: number });
    }
}

#[test]
fn a_crash_after_an_interrupt_ends_the_others() {
    let (mut course, now) = course(None);
    assert!(course.interrupted(Signal::SIGINT).signal.is_some());
    let orders = course.exited(&[death(2, Exit::Signal(11))], now);
    assert_eq!(orders.signal, Some(Signal::SIGTERM));
    assert_eq!(orders.notices.len(), 1);
    assert_eq!(course.into_ending(), Ending::Interrupted { signal: 2 });
}

#[test]
fn a_signal_while_ranks_are_being_ended_kills_them() {
    let (mut course, now) = course(None);
    assert!(
        course
            .exited(&[death(0, Exit::Code(1))], now)
            .signal
            .is_some()
    );
    assert_eq!(
        course.interrupted(Signal::SIGINT).signal,
        Some(Signal::SIGKILL)
    );
    let exit = Exit::Code(1);
    assert_eq!(course.into_ending(), Ending::RankFailed { rank: 0, exit });
}

#[test]
fn the_time_limit_names_who_still_runs() {
    let limit = Duration::from_millis(1500);
    let (mut course, now) = course(Some(limit));
    assert_eq!(course.deadline(), Some(now + limit));
    let orders = course.tick(&[1, 3, 4, 5], now + limit);
    assert_eq!(orders.signal, Some(Signal::SIGTERM));
    let said = "the time limit of 1.5 s has passed, still running: ranks 1, 3-5";
    assert_eq!(orders.notices, [said]);
    assert_eq!(course.deadline(), Some(now + limit + GRACE));
    assert_eq!(course.into_ending(), Ending::TimedOut);
}

#[test]
fn a_time_limit_beyond_the_clock_is_none() {
    let (course, _) = course(Some(Duration::MAX));
    assert_eq!(course.deadline(), None);
}

#[test]
fn lost_output_ends_the_job_quietly_only_when_nobody_reads_it() {
    let (mut course, now) = course(None);
    let orders = course.output_lost(None, now);
    assert_eq!(
        (orders.signal, orders.notices.len()),
        (Some(Signal::SIGTERM), 0)
    );
    assert_eq!(course.into_ending(), Ending::OutputClosed);

    let (mut course, now) = self::course(None);
    let orders = course.output_lost(Some("disk full".to_owned()), now);
    assert_eq!(
        (orders.signal, orders.notices.len()),
        (Some(Signal::SIGTERM), 1)
    );
    assert_eq!(course.into_ending(), Ending::OutputFailed);
}

#[test]
fn a_single_rank_is_listed_as_one() {
    assert_eq!(list(&[4]), "rank 4");
    assert_eq!(list(&[0, 1, 2, 9]), "ranks 0-2, 9");
}

#[test]
fn output_that_nobody_reads_is_given_up_at_the_time_limit_alone() {
    let limit = Duration::from_secs(5);
    let (mut course, now) = course(Some(limit));
    let orders = course.tick(&[], now + limit);
    assert!(orders.abandon_output && orders.signal.is_none());
    assert_eq!(orders.notices.len(), 1);
    assert_eq!(
        (course.deadline(), course.into_ending()),
        (None, Ending::TimedOut)
    );

    let (mut course, now) = self::course(None);
    assert!(
        course
            .exited(&[death(0, Exit::Code(1))], now)
            .signal
            .is_some()
    );
    assert_eq!(course.tick(&[], now + GRACE), Orders::default());
    assert_eq!(course.deadline(), None, "there is nothing more to wait for");
}

#[test]
fn a_lost_host_ends_the_job_unless_it_is_ending() {
    let (mut course, now) = course(None);
    let orders = course.host_lost("b", vec!["host b was lost".to_owned()], now);
    assert_eq!(orders.signal, Some(Signal::SIGTERM));
    assert_eq!(orders.notices, ["host b was lost"]);
    let orders = course.host_lost("c", vec!["host c was lost".to_owned()], now);
    assert_eq!(orders, Orders::default(), "consequences are not named");
    let host = "b".to_owned();
    assert_eq!(course.into_ending(), Ending::HostLost { host });
}

#[test]
fn a_host_that_is_lost_after_an_interrupt_ends_the_others_and_not_the_verdict() {
    let (mut course, now) = course(None);
    let _ = course.interrupted(Signal::SIGINT);
    let orders = course.host_lost("b", vec!["host b was lost".to_owned()], now);
    assert_eq!(orders.signal, Some(Signal::SIGTERM));
    assert_eq!(course.into_ending(), Ending::Interrupted { signal: 2 });
}

#[test]
fn a_death_elsewhere_is_named_with_its_host() {
    let (mut course, now) = course(None);
    let death = Death {
        host: Some("b".into()),
        ..death(3, Exit::Signal(11))
    };
    let orders = course.exited(&[death], now);
    let named = "rank 3 (pid 103 on host b) was killed by signal 11 (SIGSEGV)";
    assert_eq!(orders.notices, [named]);
}
