//! Directories that answer late, never, or wrongly, and those that know who has gone.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use phalanx_shm::Death;
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};

use super::{HANG, await_refusal, await_that, await_trouble, bind, numbered, ping_pong, receive};
use crate::link::{PeerState, Transport};
use crate::quic::connection::Stage;
use crate::quic::verify::Credentials;
use crate::quic::{Card, Directory, Identity, JobId, News, Quic, QuicError, QuicSettings, Roll};

/// A directory that says what the test wants it to say, and when.
#[derive(Clone, Debug)]
struct Desk(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    asked: Mutex<Vec<usize>>,
    news: Mutex<VecDeque<News>>,
    input: EventFd,
}

impl Desk {
    fn new() -> Self {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Self(Arc::new(Counter {
            asked: Mutex::default(),
            news: Mutex::default(),
            input: EventFd::from_flags(flags).unwrap(),
        }))
    }

    fn tell(&self, news: News) {
        let mut queue = self.0.news.lock();
        queue.push_back(news);
        self.0.input.write(1).unwrap();
    }

    fn asked(&self) -> Vec<usize> {
        self.0.asked.lock().clone()
    }
}

impl Directory for Desk {
    fn ask(&mut self, rank: usize) {
        self.0.asked.lock().push(rank);
    }

    fn poll(&mut self) -> Option<News> {
        let mut queue = self.0.news.lock();
        let news = queue.pop_front();
        if news.is_none() {
            let _ = self.0.input.read();
        }
        news
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.input.as_fd())
    }
}

fn patient() -> QuicSettings {
    QuicSettings {
        card_deadline: 2 * HANG,
        dial_deadline: 2 * HANG,
        idle_timeout: 2 * HANG,
        ..QuicSettings::default()
    }
}

fn in_a_hurry() -> QuicSettings {
    QuicSettings {
        card_deadline: Duration::from_millis(100),
        ..patient()
    }
}

/// A job whose ranks know nothing of each other, their desks, and the cards that those could give out.
fn unacquainted(ranks: usize, settings: &QuicSettings) -> (Vec<Quic>, Vec<Desk>, Vec<Card>) {
    let job = JobId::random().unwrap();
    let sockets: Vec<_> = (0..ranks).map(|rank| bind(rank, job, settings)).collect();
    let cards = sockets.iter().map(|socket| socket.card()).collect();
    let desks: Vec<_> = (0..ranks).map(|_| Desk::new()).collect();
    let links = sockets
        .into_iter()
        .zip(&desks)
        .map(|(socket, desk)| Quic::join(socket, ranks, Box::new(desk.clone())).unwrap())
        .collect();
    (links, desks, cards)
}

/// As [`unacquainted`], but everybody knows everybody.
fn acquainted(ranks: usize) -> (Vec<Quic>, Vec<Desk>) {
    let (links, desks, cards) = unacquainted(ranks, &patient());
    for desk in &desks {
        for card in &cards {
            desk.tell(News::Card(card.clone()));
        }
    }
    (links, desks)
}

/// Waits until somebody has dialled `link` whose card is not there; drives it meanwhile.
#[track_caller]
fn await_claimant(link: &mut Quic) {
    await_that("somebody who claims to be a peer", || {
        assert!(link.poll().unwrap().is_none(), "nothing may be read");
        let seat = link.shared.sit();
        let mut conns = seat.driver.conns.iter().flatten();
        conns.any(|conn| conn.stage == Stage::Shown && conn.inbound() > 0)
    });
}

#[test]
fn cards_that_come_late_are_waited_for_at_both_ends() {
    let (mut links, desks, cards) = unacquainted(2, &patient());
    assert!(links[0].send(1, &numbered(1), b"early").unwrap());
    await_that("the question", || desks[0].asked() == [1]);
    assert!(links[0].poll().unwrap().is_none());
    desks[0].tell(News::Card(cards[1].clone()));

    // The lower rank elects, and sends at once: what arrives is not looked at before it is clear who sent it.
    let (first, second) = links.split_at_mut(1);
    await_that("the election", || {
        assert!(first[0].poll().unwrap().is_none());
        first[0].shared.sit().driver.peers[1].elected.is_some()
    });
    await_claimant(&mut second[0]);
    assert_eq!(desks[1].asked(), [0]);
    assert!(
        second[0].shared.sit().driver.peers[0].elected.is_none(),
        "elected before the card came"
    );
    desks[1].tell(News::Card(cards[0].clone()));
    assert_eq!(*receive(&mut second[0]).1.payload, *b"early");
    ping_pong(&mut links, 3);
    assert_eq!(desks[0].asked(), [1], "asked twice");
}

#[test]
fn the_higher_rank_may_be_the_one_that_dials() {
    let (mut links, desks, cards) = unacquainted(2, &patient());
    desks[1].tell(News::Card(cards[0].clone()));
    assert!(links[1].send(0, &numbered(1), b"hello").unwrap());
    await_that("the question", || {
        assert!(links.iter_mut().all(|link| link.poll().unwrap().is_none()));
        desks[0].asked() == [1]
    });
    desks[0].tell(News::Card(cards[1].clone()));
    assert_eq!(*receive(&mut links[0]).1.payload, *b"hello");
}

#[test]
fn who_is_answered_waits_longer_than_for_an_answer() {
    let settings = QuicSettings {
        dial_deadline: Duration::from_secs(2),
        ..patient()
    };
    let (mut links, desks, cards) = unacquainted(2, &settings);
    desks[1].tell(News::Card(cards[0].clone()));
    assert!(links[1].send(0, &numbered(1), b"hello").unwrap());
    // Until the deadline for an answer is over: what has to happen then is nothing.
    let end = Instant::now() + Duration::from_millis(2500);
    await_that("the end of the deadline", || {
        assert!(links.iter_mut().all(|link| link.poll().unwrap().is_none()));
        Instant::now() > end
    });
    assert_eq!(links[1].state_of(0), PeerState::Present);
    desks[0].tell(News::Card(cards[1].clone()));
    assert_eq!(*receive(&mut links[0]).1.payload, *b"hello");
}

#[test]
fn much_that_was_sent_before_the_card_came_arrives() {
    let (mut links, desks, cards) = unacquainted(2, &patient());
    desks[0].tell(News::Card(cards[1].clone()));
    let mut sent = 0;
    // More than a stranger may send.
    while links[0].send(1, &numbered(sent), &[7; 10_000]).unwrap() && sent < 60 {
        sent += 1;
    }
    assert!(sent > 20, "{sent}");
    await_claimant(&mut links[1]);
    desks[1].tell(News::Card(cards[0].clone()));
    for number in 0..sent {
        assert_eq!(receive(&mut links[1]).1.header, numbered(number));
    }
}

#[test]
fn a_card_that_never_comes_is_given_up() {
    let (mut links, _, cards) = unacquainted(3, &in_a_hurry());
    assert!(links[0].send(1, &numbered(1), b"anybody?").unwrap());
    let trouble = await_trouble(&mut links[0], 1);
    assert!(
        trouble.contains("card of rank 1") && trouble.contains("has not come"),
        "{trouble}"
    );

    // Who has a card and dials is turned away by who has none of his.
    let desk = Desk::new();
    desk.tell(News::Card(cards[1].clone()));
    let late = bind(2, cards[0].job, &patient());
    let mut dials = Quic::join(late, 3, Box::new(desk)).unwrap();
    assert!(dials.send(1, &numbered(1), b"let me in").unwrap());
    let refusal = await_refusal(&mut links[1]);
    for words in ["127.0.0.1:", "rank 2", "has not come"] {
        assert!(refusal.contains(words), "{refusal}");
    }
    assert!(await_trouble(&mut dials, 1).contains("rank 2 was turned away"));
}

#[test]
fn a_card_of_another_job_is_not_believed() {
    let (mut links, desks, cards) = unacquainted(2, &patient());
    assert!(links[0].send(1, &numbered(1), b"hello").unwrap());
    let job = JobId::random().unwrap();
    let foreign = Card {
        job,
        ..cards[1].clone()
    };
    desks[0].tell(News::Card(foreign));
    let trouble = await_trouble(&mut links[0], 1);
    assert!(
        trouble.contains("card of rank 1") && trouble.contains(&job.to_string()),
        "{trouble}"
    );
    assert!(await_refusal(&mut links[0]).contains("mixed up"));
}

#[test]
fn a_card_of_another_rank_is_no_answer() {
    let (mut links, desks, cards) = unacquainted(3, &patient());
    assert!(links[0].send(1, &numbered(1), b"hello").unwrap());
    desks[0].tell(News::Card(cards[2].clone()));
    for (wrong, says) in [
        (
            Card {
                rank: 7,
                ..cards[1].clone()
            },
            "rank 7 in a job of 3",
        ),
        (
            Card {
                fingerprint: cards[1].fingerprint,
                ..cards[2].clone()
            },
            "second card of rank 2",
        ),
    ] {
        desks[0].tell(News::Card(wrong));
        let refusal = await_refusal(&mut links[0]);
        assert!(refusal.contains(says), "{refusal}");
    }
    assert_eq!(links[0].state_of(1), PeerState::Present);
    desks[0].tell(News::Card(cards[1].clone()));
    desks[1].tell(News::Card(cards[0].clone()));
    assert_eq!(*receive(&mut links[1]).1.payload, *b"hello");

    let twin = Card {
        rank: 2,
        ..cards[1].clone()
    };
    desks[1].tell(News::Card(cards[1].clone()));
    desks[1].tell(News::Card(twin));
    let refusal = await_refusal(&mut links[1]);
    assert!(refusal.contains("same certificate"), "{refusal}");
}

#[test]
fn when_nothing_can_be_learned_any_more_the_strangers_are_lost_and_the_friends_are_not() {
    let (mut links, desks) = acquainted(2);
    ping_pong(&mut links, 1);
    let (mut lonely, ended, _) = unacquainted(3, &patient());
    assert!(lonely[0].send(1, &numbered(1), b"hello").unwrap());
    for desk in desks.iter().chain(&ended) {
        desk.tell(News::End("the launcher has gone".to_owned()));
    }
    let trouble = await_trouble(&mut lonely[0], 1);
    assert!(trouble.contains("the launcher has gone"), "{trouble}");
    assert!(lonely[0].send(2, &numbered(1), b"hello").unwrap());
    assert!(await_trouble(&mut lonely[0], 2).contains("card of rank 2"));
    ping_pong(&mut links, 3);
}

#[test]
fn departures_are_heard_of_and_wake_who_sleeps() {
    let states = [
        PeerState::Dead(Death::Signal(9)),
        PeerState::Left,
        PeerState::Unreachable,
    ];
    for state in states {
        let (mut links, desks, _) = unacquainted(3, &patient());
        assert!(links[0].prepare_sleep());
        let sleeper = links[0].sleeper();
        let thread = thread::spawn(move || sleeper.sleep(Duration::MAX));
        desks[0].tell(News::State(1, state));
        thread.join().unwrap();
        assert_eq!(links[0].departures(), 1);
        assert_eq!(links[0].state_of(1), state);
        assert_eq!(links[0].state_of(2), PeerState::Present);
        if state == PeerState::Unreachable {
            assert!(links[0].send(1, &numbered(1), b"hello").is_err());
        }
    }
}

#[test]
fn who_computes_hears_of_departures_too() {
    let (links, desks, _) = unacquainted(2, &patient());
    desks[0].tell(News::State(1, PeerState::Dead(Death::Signal(9))));
    // Nobody calls the link: its keeper looks.
    await_that("the news", || links[0].departures() == 1);
}

#[test]
fn who_waits_for_a_rank_that_left_waits_no_longer() {
    let (mut links, desks, _) = unacquainted(2, &patient());
    assert!(links[0].send(1, &numbered(1), b"hello").unwrap());
    desks[0].tell(News::State(1, PeerState::Left));
    await_that("the news", || {
        assert!(links[0].poll().unwrap().is_none());
        links[0].state_of(1) == PeerState::Left
    });
}

#[test]
fn a_connection_has_the_last_word_on_how_its_rank_went() {
    let (mut links, desks) = acquainted(2);
    ping_pong(&mut links, 1);
    assert!(links[1].send(0, &numbered(7), b"last words").unwrap());
    desks[0].tell(News::State(1, PeerState::Left));
    await_that("the news", || {
        let seat = &links[0].shared;
        seat.drive(&mut seat.sit());
        seat.sit().driver.peers[1].elsewhere.is_some()
    });
    assert_eq!(links[0].state_of(1), PeerState::Present);
    drop(links.pop());
    assert_eq!(*receive(&mut links[0]).1.payload, *b"last words");
    await_that("the goodbye", || {
        assert!(links[0].poll().unwrap().is_none());
        links[0].state_of(1) == PeerState::Left
    });
    assert_eq!(links[0].departures(), 1);
}

#[test]
fn a_rank_that_left_without_a_goodbye_counts_as_left_when_it_is_silent() {
    let settings = QuicSettings {
        idle_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_millis(200),
        ..patient()
    };
    let (mut links, desks, cards) = unacquainted(2, &settings);
    for (desk, card) in desks.iter().zip(cards.into_iter().rev()) {
        desk.tell(News::Card(card));
    }
    ping_pong(&mut links, 1);
    links[1].crash();
    desks[0].tell(News::State(1, PeerState::Left));
    await_that("the end", || {
        assert!(links[0].poll().unwrap().is_none());
        links[0].departures() == 1
    });
    assert_eq!(links[0].state_of(1), PeerState::Left);
}

#[test]
fn who_leaves_calls_on_nobody_when_others_report_it() {
    let (mut links, desks) = acquainted(3);
    ping_pong(&mut links, 1);
    drop(links.remove(0));
    await_that("the goodbye", || {
        assert!(links.iter_mut().all(|link| link.poll().unwrap().is_none()));
        links[0].state_of(0) == PeerState::Left
    });
    let stranger = links[1].shared.sit();
    assert_eq!(stranger.driver.conns.iter().flatten().count(), 0);
    assert_eq!(stranger.driver.peers.known().count(), 2, "told by its desk");
    assert!(desks[2].asked().is_empty());
}

#[test]
fn who_is_dialled_while_it_leaves_says_so() {
    let (mut links, _) = acquainted(2);
    links[1].stop_receiving();
    assert!(links[0].send(1, &numbered(1), b"too late").unwrap());
    await_that("the word", || {
        assert!(links[0].poll().unwrap().is_none());
        links[0].state_of(1) == PeerState::Leaving
    });
    links[1].leave(true);
    await_that("the goodbye", || {
        assert!(links[0].poll().unwrap().is_none());
        links[0].state_of(1) == PeerState::Dead(Death::Exit(101))
    });
}

#[test]
fn a_job_of_a_thousand_costs_what_the_few_cost_that_are_talked_to() {
    const RANKS: usize = 1024;
    let job = JobId::random().unwrap();
    let sockets = [3, 500, 1023].map(|rank| bind(rank, job, &patient()));
    let cards = sockets.each_ref().map(|socket| socket.card());
    let desks = [0; 3].map(|_| Desk::new());
    let mut desk = desks.iter();
    let mut links = sockets.map(|socket| {
        let desk = desk.next().unwrap().clone();
        Quic::join(socket, RANKS, Box::new(desk)).unwrap()
    });
    assert!(links[0].send(500, &numbered(1), b"hello").unwrap());
    assert!(links[0].send(1023, &numbered(1), b"hello").unwrap());
    desks[0].tell(News::Card(cards[1].clone()));
    desks[0].tell(News::Card(cards[2].clone()));
    for (desk, link) in desks[1..].iter().zip(&mut links[1..]) {
        desk.tell(News::Card(cards[0].clone()));
        assert_eq!(receive(link).0, 3);
    }
    assert_eq!(desks[0].asked(), [500, 1023]);
    for link in &links {
        let known = link.shared.sit().driver.peers.known().count();
        assert!(known <= 2, "{known} entries for peers");
    }
    links[0].leave(false);
    await_that("the goodbyes", || {
        links[1..].iter_mut().all(|link| {
            assert!(link.poll().unwrap().is_none());
            link.state_of(3) == PeerState::Left
        })
    });
    assert_eq!(desks[0].asked(), [500, 1023]);
}

#[test]
fn a_rank_that_the_job_has_not_is_refused() {
    let socket = bind(2, JobId::random().unwrap(), &patient());
    let refused = Quic::join(socket, 2, Box::new(Roll::new(vec![]))).unwrap_err();
    assert!(matches!(refused, QuicError::NoRank { rank: 2, ranks: 2 }));
}

#[test]
fn a_roll_does_not_know_who_is_not_on_it() {
    let socket = bind(0, JobId::random().unwrap(), &patient());
    let mut alone = Quic::join(socket, 2, Box::new(Roll::new(vec![]))).unwrap();
    assert!(alone.send(1, &numbered(1), b"hello").unwrap());
    assert!(await_trouble(&mut alone, 1).contains("on no list"));
}

/// Somebody who dials one rank again and again from one place.
struct Dialler {
    socket: UdpSocket,
    endpoint: Endpoint,
    conns: Vec<(ConnectionHandle, Connection)>,
    target: SocketAddr,
}

impl Dialler {
    /// Dials the rank of `card` so often, as the other of two ranks.
    fn new(card: &Card, count: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let identity = Identity::generate(1 - card.rank, card.job).unwrap();
        let Credentials {
            pins, mut client, ..
        } = Credentials::new(&identity).unwrap();
        pins.learn(card, 2).unwrap();
        client.transport_config(Arc::new(patient().transport(1 << 20, 1472)));
        let (target, name) = (card.addresses[0], pins.name_of(card.rank));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let mut dial = |_| endpoint.connect(Instant::now(), client.clone(), target, &name);
        Self {
            conns: (0..count).map(|at| dial(at).unwrap()).collect(),
            socket,
            endpoint,
            target,
        }
    }

    fn drive(&mut self) {
        let now = Instant::now();
        let mut bytes = vec![0; 2000];
        while let Ok((len, from)) = self.socket.recv_from(&mut bytes) {
            let packet = bytes[..len].into();
            let event = (self.endpoint).handle(now, from, None, None, packet, &mut Vec::new());
            if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event {
                let conn = self.conns.iter_mut().find(|(at, _)| *at == handle);
                conn.unwrap().1.handle_event(event);
            }
        }
        for (handle, conn) in &mut self.conns {
            if conn.poll_timeout().is_some_and(|due| due <= now) {
                conn.handle_timeout(now);
            }
            while let Some(event) = conn.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    conn.handle_event(event);
                }
            }
            while conn.poll().is_some() {}
            let mut bytes = Vec::new();
            while let Some(sent) = conn.poll_transmit(now, 1, &mut bytes) {
                let packet = &bytes[..sent.size];
                self.socket.send_to(packet, self.target).unwrap();
                bytes.clear();
            }
        }
    }
}

#[test]
fn who_cannot_be_recognised_yet_gets_few_connections() {
    let (mut links, _, cards) = unacquainted(2, &patient());
    let mut dialler = Dialler::new(&cards[0], 20);
    let mut most = 0;
    await_that("the handshakes", || {
        dialler.drive();
        assert!(links[0].poll().unwrap().is_none());
        let seat = links[0].shared.sit();
        let conns = || seat.driver.conns.iter().flatten();
        most = most.max(conns().count());
        conns().filter(|conn| conn.stage == Stage::Shown).count() == 4
    });
    assert_eq!(most, 4, "connections from one place");
}
