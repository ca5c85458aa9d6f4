//! What every link promises, as tests over any way to make the links of a job.
//!
//! A contract is a function of a [`Job`]; [`conformance!`] at the end of this file makes a test of each contract for each kind of
//! link. A new link is one more line there. Nothing here measures time: a link that hangs is found by [`bounded`], which waits far
//! longer than any link needs.
//!
//! Over a network everything takes a while, which threads of the link use whether the test polls or not. So what other links have to
//! show at once, the helpers here wait for: not for a time, but until it is so, or until every peer has said that it sent nothing more.

mod life;
mod memory;
mod oracle;
mod order;
mod sleep;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use phalanx_shm::{Death, PoolSettings, Port, Segment, Shape};

use crate::frame::{Envelope, Header};
use crate::hosts::Hosts;
use crate::inproc::{Inproc, InprocSettings};
use crate::link::{Link, Packet, PeerState, Transport};
use crate::payload::Buffer;
use crate::quic::tests::relay::{Weather, job_through};
use crate::quic::{Quic, QuicSettings};
use crate::shm::Shm;

/// Makes the links of a job of so many ranks.
type Job = fn(usize) -> Vec<Link>;

/// Polls after which a packet that was sent counts as lost.
const PATIENCE: usize = 1000;
/// Time after which a test counts as hanging: a machine that is busy with other things needs minutes for what takes seconds.
const HANG: Duration = Duration::from_secs(900);

/// Runs `scenario`, which may wait for other threads, and fails when it never ends.
pub(crate) fn bounded(scenario: impl FnOnce() + Send + 'static) {
    let (done, finished) = channel();
    let thread = thread::spawn(move || {
        scenario();
        let _ = done.send(());
    });
    if finished.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
        panic!("the link hangs");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// The next packet, which is on its way.
fn receive(link: &mut Link) -> (usize, Packet) {
    next(link).expect("a packet is lost")
}

/// The next packet, if one is on its way; over a network it may take its time.
fn next(link: &mut Link) -> Option<(usize, Packet)> {
    if network(link).is_some() {
        return eventually(|| link.poll().unwrap());
    }
    (0..PATIENCE).find_map(|_| link.poll().unwrap())
}

/// The part of a link that leads through a network, if it has one.
fn network(link: &Link) -> Option<&Quic> {
    match link {
        Link::Quic(quic) => Some(quic),
        Link::Hosts(hosts) => Some(hosts.quic()),
        _ => None,
    }
}

/// Whether a network lies between a rank and its peer.
fn is_away(link: &Link, peer: usize) -> bool {
    link.capabilities(peer).name == Quic::CAPABILITIES.name
}

/// Calls `look` until it finds something, or for so long that nothing will come any more.
fn eventually<R>(mut look: impl FnMut() -> Option<R>) -> Option<R> {
    let end = Instant::now() + HANG;
    while Instant::now() < end {
        if let Some(found) = look() {
            return Some(found);
        }
        thread::yield_now();
    }
    None
}

/// Sends what there is room for; over a network, the word of that is on its way.
fn send(link: &mut Link, peer: usize, header: &Header, bytes: &[u8]) {
    let mut attempt = || link.send(peer, header, bytes).unwrap();
    let sent = attempt() || is_away(link, peer) && insist_bounded(link, peer, header, bytes);
    assert!(sent, "there is room");
}

fn insist_bounded(link: &mut Link, peer: usize, header: &Header, bytes: &[u8]) -> bool {
    eventually(|| link.send(peer, header, bytes).unwrap().then_some(())).is_some()
}

/// Sends a buffer that there is room for.
fn hand_over(link: &mut Link, peer: usize, header: &Header, buffer: Buffer) {
    let mut kept = link.send_buffer(peer, header, buffer).unwrap();
    if is_away(link, peer) {
        eventually(|| {
            if let Some(buffer) = kept.take() {
                kept = link.send_buffer(peer, header, buffer).unwrap();
            }
            kept.is_none().then_some(())
        });
    }
    assert!(kept.is_none(), "there is room");
}

/// Sends empty packets from one rank to another until there is no room, and none will come while nobody polls.
fn fill(links: &mut [Link], from: usize, to: usize, header: &Header) {
    let mut sent = true;
    while sent {
        settle(&links[to]);
        sent = false;
        while links[from].send(to, header, &[]).unwrap() {
            sent = true;
        }
    }
}

/// Waits until what a rank has said of room is at its peers.
fn settle(link: &Link) {
    if let Some(quic) = network(link) {
        quic.settle();
    }
}

/// Waits for the news of so many departures.
fn await_departures(link: &Link, count: u32) {
    if network(link).is_some() {
        eventually(|| (link.departures() >= count).then_some(()));
    }
    assert_eq!(link.departures(), count);
}

/// Waits until mail keeps a rank from sleeping.
fn await_mail(link: &mut Link) {
    let mut sleeps = link.prepare_sleep();
    if network(link).is_some() {
        eventually(|| {
            sleeps = sleeps && link.prepare_sleep();
            (!sleeps).then_some(())
        });
    }
    assert!(!sleeps, "there is mail");
}

/// The next packet from another thread.
fn await_packet(link: &mut Link) -> (usize, Packet) {
    loop {
        if let Some(arrival) = link.poll().unwrap() {
            return arrival;
        }
        thread::yield_now();
    }
}

/// Sends while another thread makes room.
fn insist(link: &mut Link, peer: usize, header: &Header, bytes: &[u8]) {
    while !link.send(peer, header, bytes).unwrap() {
        thread::yield_now();
    }
}

/// Nothing more is on its way.
fn assert_silent(link: &mut Link) {
    let asked = network(link).map(Quic::ask);
    for turn in 0.. {
        let arrival = link.poll().unwrap();
        assert!(arrival.is_none(), "nobody sent {arrival:?}");
        // Each peer answers behind all that it has sent before.
        let asked = network(link).zip(asked.as_ref());
        let is_answered = asked.is_none_or(|(quic, asked)| quic.is_answered(asked));
        if is_answered && turn >= PATIENCE {
            break;
        }
        if !is_answered {
            thread::yield_now();
        }
    }
}

/// Ends `rank` as if its process had died. What it had sent is on its way: what a process that dies keeps from going out is lost over
/// a network.
fn kill(links: &[Link], rank: usize) {
    let dead = Death::Signal(9);
    if let Some(quic) = network(&links[rank]) {
        quic.settle();
        quic.crash();
    }
    if let Some(segment) = links[rank].segment() {
        segment.depart(rank, phalanx_shm::RankState::Dead(dead));
    }
    if let Link::Inproc(inproc) = &links[rank] {
        inproc.controls().kill(rank);
    }
    // As the launcher does, which has reaped the process.
    let others = links.iter().enumerate();
    for (_, link) in others.filter(|&(other, link)| other != rank && is_away(link, rank)) {
        if let Some(quic) = network(link) {
            quic.record(rank, PeerState::Dead(dead));
        }
    }
}

/// A whole message that a test can tell from others.
fn numbered(number: i32) -> Header {
    Header::Eager(Envelope::new(3, number, 5))
}

/// Bytes that differ from those of another seed or length.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index * 7 + seed * 31 + (index >> 8) + len) as u8)
        .collect()
}

fn inproc(ranks: usize, change: impl FnOnce(&mut InprocSettings)) -> Vec<Link> {
    let mut settings = InprocSettings::default();
    change(&mut settings);
    let links = Inproc::job(ranks, settings);
    links.into_iter().map(Link::Inproc).collect()
}

/// Ranks that are hosts of their own, on one network. Their patience is longer than that of [`bounded`], so that a machine that is busy
/// with other tests is not taken for one that is down.
fn quic(ranks: usize, change: impl FnOnce(&mut QuicSettings)) -> Vec<Link> {
    let mut settings = QuicSettings {
        dial_deadline: 2 * HANG,
        idle_timeout: 2 * HANG,
        ..QuicSettings::default()
    };
    change(&mut settings);
    let links = crate::quic::tests::job(ranks, &settings);
    links.into_iter().map(Link::Quic).collect()
}

/// As [`quic`], through a network that loses, doubles and delays.
fn quic_in_a_storm(ranks: usize) -> Vec<Link> {
    let settings = QuicSettings {
        dial_deadline: 2 * HANG,
        // Whoever leaves is gone when its last word was sent; if that is lost, silence has to tell the others.
        idle_timeout: Duration::from_secs(60),
        // No goodbyes between ranks that never talked: of a large job they would be nearly all that there is to carry.
        farewells: if ranks > 8 { 0 } else { usize::MAX },
        ..QuicSettings::default()
    };
    let (links, _) = job_through(ranks, &settings, Weather::STORM);
    links.into_iter().map(Link::Quic).collect()
}

fn make_tight(settings: &mut QuicSettings) {
    (settings.queue, settings.chunk, settings.chunks) = (1, 4096, 1);
    settings.largest_packet = Some(1200);
}

/// Ranks that find the segment at the addresses given by `mappings`, in turn.
fn shm(mappings: &[Arc<Segment>]) -> Vec<Link> {
    (0..mappings[0].ranks())
        .zip(mappings.iter().cycle())
        .map(|(rank, segment)| {
            Port::attach(Arc::clone(segment), rank, PoolSettings::default()).unwrap()
        })
        .map(|port| Link::Shm(Shm::new(port)))
        .collect()
}

/// Ranks of several hosts, rank by rank on the one that `host` says, which all are this one.
pub(crate) fn hosts(ranks: usize, host: fn(usize) -> usize) -> Vec<Link> {
    let mut segments = BTreeMap::new();
    let shape = Shape {
        ranks,
        // Address space for each rank on each host.
        arena_bytes: if ranks > 8 { 2 << 20 } else { 16 << 20 },
    };
    let join = |(rank, link)| {
        let Link::Quic(quic) = link else {
            unreachable!("made of the network alone");
        };
        let segment = segments
            .entry(host(rank))
            .or_insert_with(|| Arc::new(Segment::within_process(&shape).unwrap()));
        let port = Port::attach(Arc::clone(segment), rank, PoolSettings::default()).unwrap();
        let shares = (0..ranks).map(|peer| host(peer) == host(rank)).collect();
        Link::Hosts(Hosts::new(Shm::new(port), quic, shares))
    };
    let links = quic(ranks, |_| ()).into_iter().enumerate();
    links.map(join).collect()
}

fn shape(ranks: usize) -> Shape {
    Shape {
        ranks,
        arena_bytes: 16 << 20,
    }
}

fn shm_on_heap(ranks: usize) -> Vec<Link> {
    shm(&[Arc::new(Segment::within_process(&shape(ranks)).unwrap())])
}

/// As between processes: no two neighbours see the segment at the same address.
fn shm_mapped_twice(ranks: usize) -> Vec<Link> {
    let first = Segment::create(&shape(ranks)).unwrap();
    let descriptor = first.descriptor().unwrap().try_clone_to_owned().unwrap();
    let second = Segment::attach(descriptor).unwrap();
    shm(&[Arc::new(first), Arc::new(second)])
}

/// One test for each function that is named.
macro_rules! contracts {
    ($job:expr; $($file:ident { $($contract:ident)* })*) => {$(
        mod $file {
            $(#[test] fn $contract() { crate::conformance::$file::$contract($job); })*
        }
    )*};
}

/// All contracts for each link.
macro_rules! conformance {
    ($($link:ident: $job:expr,)*) => {$(
        mod $link {
            contracts! { $job;
                oracle { any_schedule_delivers_what_a_queue_for_each_pair_would }
                order {
                    many_senders_reach_one_receiver_in_order everyone_talks_to_everyone
                    a_full_link_refuses_and_loses_nothing a_full_link_gives_the_buffer_back a_full_pair_hinders_no_other
                }
                memory {
                    payloads_are_aligned_and_whole kept_payloads_stay_intact payloads_outlive_their_links
                    memory_is_reused_in_any_order_of_return a_forwarded_payload_arrives parts_are_bounded_and_come_back
                    what_a_dead_rank_held_comes_back what_a_rank_left_unread_comes_back more_than_there_is_cannot_be_reserved what_is_exposed_can_be_pulled_and_nothing_else
                }
                life {
                    who_leaves_is_seen_to who_dies_is_seen_to what_was_sent_before_a_departure_is_readable
                    all_that_a_departed_rank_sent_comes_before_nothing a_leaving_rank_is_told_from_one_that_left
                    a_rank_that_fails_is_told_from_one_that_left
                }
                sleep {
                    who_wants_room_is_woken_when_there_is_some mail_keeps_awake mail_wakes a_call_wakes a_departure_wakes a_death_wakes a_timeout_ends_sleep
                    a_sleeper_whose_neighbour_timed_out_is_woken
                    a_sleeper_whose_neighbour_looks_for_mail_is_woken no_wake_up_is_lost_between_two no_wake_up_is_lost_among_many
                }
            }
        }
    )*};
}

conformance! {
    inproc_by_default: |ranks| crate::conformance::inproc(ranks, |_| ()),
    inproc_when_tight: |ranks| crate::conformance::inproc(ranks, |settings| (settings.capacity, settings.chunks) = (1, 1)),
    inproc_when_late: |ranks| crate::conformance::inproc(ranks, |settings| (settings.delay, settings.seed) = (50, 1)),
    quic_by_default: |ranks| crate::conformance::quic(ranks, |_| ()),
    hosts_all_one: |ranks| crate::conformance::hosts(ranks, |_| 0),
    hosts_all_apart: |ranks| crate::conformance::hosts(ranks, |rank| rank),
    hosts_two_by_two: |ranks| crate::conformance::hosts(ranks, |rank| rank / 2 % 2),
    quic_in_a_storm: crate::conformance::quic_in_a_storm,
    quic_when_tight: |ranks| crate::conformance::quic(ranks, crate::conformance::make_tight),
    shm_on_heap: crate::conformance::shm_on_heap,
    shm_mapped_twice: crate::conformance::shm_mapped_twice,
}
