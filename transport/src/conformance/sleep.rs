//! Sleeping and being woken. A lost wake-up shows as a test that hangs: sleepers here have all the time in the world.

use std::thread;
use std::time::Duration;

use crate::conformance::{
    Job, await_mail, await_packet, bounded, insist, kill, numbered, receive, send,
};
use crate::link::{Link, Packet, Sleeper, Transport};

/// Gets the link of a rank that has no mail ready to sleep.
fn announce(link: &mut Link) -> Sleeper {
    assert!(link.poll().unwrap().is_none());
    assert!(link.prepare_sleep(), "nothing has arrived");
    link.sleeper()
}

/// Rank 0 of three has announced that it sleeps, and sleeps or is about to, when `wake` happens.
fn sleeper_is_woken_by(job: Job, wake: fn(&mut Vec<Link>)) {
    bounded(move || {
        let mut links = job(3);
        for _ in 0..200 {
            if links.len() < 3 || links[0].departures() > 0 {
                links = job(3);
            }
            let sleeper = announce(&mut links[0]);
            let thread = thread::spawn(move || sleeper.sleep(Duration::MAX));
            wake(&mut links);
            thread.join().unwrap();
            while links[0].poll().unwrap().is_some() || !links[0].prepare_sleep() {}
        }
    });
}

/// The next packet, asleep until it comes.
fn await_asleep(link: &mut Link, sleeper: &Sleeper) -> (usize, Packet) {
    loop {
        if let Some(arrival) = link.poll().unwrap() {
            return arrival;
        }
        if link.prepare_sleep() {
            sleeper.sleep(Duration::MAX);
        }
    }
}

pub(super) fn who_wants_room_is_woken_when_there_is_some(job: Job) {
    bounded(move || {
        for _ in 0..50 {
            let mut links = job(2);
            let mut receiver = links.remove(1);
            let mut sender = links.remove(0);
            let count = (0..)
                .take_while(|&number| sender.send(1, &numbered(number), &[]).unwrap())
                .count();
            let taker = thread::spawn(move || {
                for number in 0..count {
                    let header = await_packet(&mut receiver).1.header;
                    assert_eq!(header, numbered(number as i32));
                }
                receiver
            });
            let sleeper = sender.sleeper();
            loop {
                sender.want_room();
                let ready = sender.prepare_sleep();
                if sender.send(1, &numbered(-1), &[]).unwrap() {
                    break;
                }
                if ready {
                    sleeper.sleep(Duration::MAX);
                }
            }
            let mut receiver = taker.join().unwrap();
            assert_eq!(await_packet(&mut receiver).1.header, numbered(-1));
        }
    });
}

pub(super) fn mail_keeps_awake(job: Job) {
    let mut links = job(12);
    for sender in 1..12 {
        assert!(links[sender].send(0, &numbered(1), &[]).unwrap());
        await_mail(&mut links[0]);
    }
    for _ in 1..12 {
        await_mail(&mut links[0]);
        receive(&mut links[0]);
    }
    announce(&mut links[0]);
    // A rank that announced sleep may change its mind.
    assert!(links[5].send(0, &numbered(2), &[]).unwrap());
    await_mail(&mut links[0]);
    assert_eq!(receive(&mut links[0]).0, 5);
}

pub(super) fn mail_wakes(job: Job) {
    sleeper_is_woken_by(job, |links| {
        send(&mut links[2], 0, &numbered(1), b"wake");
    });
}

pub(super) fn a_call_wakes(job: Job) {
    sleeper_is_woken_by(job, |links| links[0].sleeper().wake());
}

pub(super) fn a_departure_wakes(job: Job) {
    sleeper_is_woken_by(job, |links| drop(links.pop()));
}

pub(super) fn a_death_wakes(job: Job) {
    sleeper_is_woken_by(job, |links| kill(links, 1));
}

pub(super) fn a_timeout_ends_sleep(job: Job) {
    bounded(move || {
        let mut links = job(2);
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            announce(&mut links[0]).sleep(timeout);
        }
    });
}

pub(super) fn a_sleeper_whose_neighbour_timed_out_is_woken(job: Job) {
    bounded(move || {
        let mut links = job(2);
        for round in 0..100 {
            let sleeper = announce(&mut links[0]);
            let patient = {
                let sleeper = sleeper.clone();
                thread::spawn(move || sleeper.sleep(Duration::MAX))
            };
            sleeper.sleep(Duration::from_millis(1));
            if round % 2 == 0 {
                sleeper.wake();
                patient.join().unwrap();
            } else {
                send(&mut links[1], 0, &numbered(1), &[]);
                patient.join().unwrap();
                receive(&mut links[0]);
            }
            while links[0].poll().unwrap().is_some() || !links[0].prepare_sleep() {}
        }
    });
}

pub(super) fn a_sleeper_whose_neighbour_looks_for_mail_is_woken(job: Job) {
    bounded(move || {
        let mut links = job(2);
        let mut sender = links.pop().unwrap();
        let mut receiver = links.pop().unwrap();
        for _ in 0..2000 {
            let sleeper = announce(&mut receiver);
            thread::scope(|scope| {
                scope.spawn(move || sleeper.sleep(Duration::MAX));
                scope.spawn(|| insist(&mut sender, 0, &numbered(1), &[]));
                while receiver.prepare_sleep() {}
            });
            await_packet(&mut receiver);
        }
    });
}

pub(super) fn no_wake_up_is_lost_between_two(job: Job) {
    const ROUNDS: i32 = 3000;
    bounded(move || {
        let mut links = job(2);
        let mut serve = links.pop().unwrap();
        let mut call = links.pop().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let sleeper = serve.sleeper();
                for _ in 0..ROUNDS {
                    let header = await_asleep(&mut serve, &sleeper).1.header;
                    insist(&mut serve, 0, &header, &[]);
                }
            });
            let sleeper = call.sleeper();
            for round in 0..ROUNDS {
                insist(&mut call, 1, &numbered(round), &[]);
                let (_, packet) = await_asleep(&mut call, &sleeper);
                assert_eq!(packet.header, numbered(round));
            }
        });
    });
}

pub(super) fn no_wake_up_is_lost_among_many(job: Job) {
    const SENDERS: usize = 16;
    const EACH: i32 = 300;
    bounded(move || {
        let mut links = job(SENDERS + 1);
        let mut receiver = links.remove(0);
        let sleeper = receiver.sleeper();
        thread::scope(|scope| {
            for link in &mut links {
                scope.spawn(move || {
                    for number in 0..EACH {
                        insist(link, 0, &numbered(number), &[]);
                        // Give the receiver time to fall asleep now and then.
                        if number % 8 == 0 {
                            thread::yield_now();
                        }
                    }
                });
            }
            for _ in 0..SENDERS as i32 * EACH {
                await_asleep(&mut receiver, &sleeper);
            }
        });
    });
}
