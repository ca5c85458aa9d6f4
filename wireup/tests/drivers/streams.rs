//! Ranks and agents over private streams.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use phalanx_wireup::exchange::{
    Agent, AgentEvent, Card, Failure, RankSet, Scope, Shape, Tree, Who,
};
use phalanx_wireup::{Awaited, Channel, Client, ClientError, Halves, Hub, HubError, HubEvent};

use crate::LIMIT;

fn hub_of(ranks: u32) -> Hub {
    Hub::new(Agent::root(Shape::new(ranks).with_ranks(0..ranks)).unwrap())
}

/// A stream for rank `rank`, whose other end is `hub`'s.
fn stream(hub: &mut Hub, rank: u32) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    hub.attach(Who::Rank(rank), Channel::plain(ours).unwrap());
    theirs
}

fn serve(mut hub: Hub) -> JoinHandle<(Hub, Result<(), HubError>)> {
    thread::spawn(move || {
        let served = hub.serve(LIMIT);
        (hub, served)
    })
}

fn join(stream: UnixStream, rank: u32, size: u32) -> Client {
    Client::join(Channel::plain(stream).unwrap(), rank, size, LIMIT).unwrap()
}

fn named(name: &str) -> Card {
    let mut card = Card::default();
    card.host.name = name.to_owned();
    card
}

/// A rank that meets all others, reads all their cards, and leaves.
fn whole_life(stream: UnixStream, rank: u32, size: u32) -> Vec<String> {
    let mut client = join(stream, rank, size);
    client.put(named(&format!("host of {rank}"))).unwrap();
    client.fence(Scope::Host, LIMIT).unwrap();
    client.fence(Scope::Job, LIMIT).unwrap();
    let cards = (0..size).map(|of| client.get(of, LIMIT).unwrap());
    let names = cards.map(|card| card.host.name.clone()).collect();
    client.fence(Scope::Job, LIMIT).unwrap();
    client.leave(LIMIT).unwrap();
    names
}

#[test]
fn ranks_of_three_hosts_meet_over_sockets_and_pipes() {
    let hosts: Vec<RankSet> = [0..2, 2..4, 4..6].map(RankSet::from).into();
    let tree = Tree::new(hosts, 2);
    let mut hubs = vec![Hub::new(tree.root().unwrap())];
    hubs.extend((0..3).map(|host| Hub::new(tree.agent(host).unwrap())));
    for host in 0_u32..3 {
        // As the launcher has it with ssh: one pipe for each direction.
        let (down_end, down) = std::io::pipe().unwrap();
        let (up_end, up) = std::io::pipe().unwrap();
        let parent = tree.parent(host);
        let above = match parent {
            Who::Agent(number) => number as usize + 1,
            _ => 0,
        };
        hubs[above].attach(
            Who::Agent(host),
            Channel::plain(Halves::new(up_end, down)).unwrap(),
        );
        hubs[host as usize + 1].attach(parent, Channel::plain(Halves::new(down_end, up)).unwrap());
    }
    let ranks: Vec<_> = (0_u32..6)
        .map(|rank| {
            let stream = stream(&mut hubs[rank as usize / 2 + 1], rank);
            thread::spawn(move || whole_life(stream, rank, 6))
        })
        .collect();
    let hubs: Vec<_> = hubs.into_iter().map(serve).collect();
    let expected: Vec<_> = (0..6).map(|rank| format!("host of {rank}")).collect();
    for rank in ranks {
        assert_eq!(rank.join().unwrap(), expected);
    }
    for hub in hubs {
        let (hub, served) = hub.join().unwrap();
        served.unwrap();
        assert!(hub.agent().losses().is_empty());
    }
}

#[test]
fn a_rank_that_dies_is_named_to_those_who_wait_for_it() {
    let mut hub = hub_of(2);
    let (mine, other) = (stream(&mut hub, 0), stream(&mut hub, 1));
    let hub = serve(hub);
    let dying = thread::spawn(move || drop(join(other, 1, 2)));
    let mut client = join(mine, 0, 2);
    client.put(Card::default()).unwrap();
    let error = client.fence(Scope::Job, LIMIT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rank 1 was lost: the connection was closed"
    );
    assert!(client.get(1, LIMIT).is_err());
    assert!(client.get(0, LIMIT).is_ok());
    client.leave(LIMIT).unwrap();
    dying.join().unwrap();
    let (mut hub, served) = hub.join().unwrap();
    served.unwrap();
    let event = hub.poll_event();
    assert!(
        matches!(event, Some(HubEvent::Agent(AgentEvent::Lost(loss))) if loss.who == Who::Rank(1))
    );
}

#[test]
fn a_wait_ends_with_its_time_and_can_be_taken_up_again() {
    let mut hub = hub_of(2);
    let (mine, other) = (stream(&mut hub, 0), stream(&mut hub, 1));
    let hub = serve(hub);
    let mut client = join(mine, 0, 2);
    client.put(Card::default()).unwrap();
    let error = client
        .fence(Scope::Job, Duration::from_millis(1))
        .unwrap_err();
    let awaited = Awaited::Fence(Scope::Job);
    assert!(
        matches!(error, ClientError::TimedOut { awaited: a, .. } if a == awaited),
        "{error}"
    );
    let error = client.get(1, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("the card of rank 1"), "{error}");
    let second = thread::spawn(move || {
        let mut client = join(other, 1, 2);
        client.put(Card::default()).unwrap();
        client.fence(Scope::Job, LIMIT).unwrap();
        client.leave(LIMIT).unwrap();
    });
    client.await_fence(Scope::Job, LIMIT).unwrap();
    client.get(1, LIMIT).unwrap();
    client.leave(LIMIT).unwrap();
    second.join().unwrap();
    hub.join().unwrap().1.unwrap();
}

#[test]
fn a_hub_names_those_who_never_came() {
    let mut hub = hub_of(3);
    let streams: Vec<_> = (0..3).map(|rank| stream(&mut hub, rank)).collect();
    let error = hub.serve(Duration::from_millis(1)).unwrap_err();
    assert!(error.to_string().contains("absent: ranks 0-2"), "{error}");
    drop(streams);
}

#[test]
fn bytes_that_are_no_frames_end_only_their_sender() {
    for garbage in [
        &[0xff_u8; 64][..],
        b"GET / HTTP/1.1\r\n",
        &[2, 0, 0, 0, 1, 77],
        &[0, 0, 0, 0],
    ] {
        let mut hub = hub_of(2);
        let (mine, mut other) = (stream(&mut hub, 0), stream(&mut hub, 1));
        let hub = serve(hub);
        other.write_all(garbage).unwrap();
        let mut client = join(mine, 0, 2);
        client.put(Card::default()).unwrap();
        let error = client.fence(Scope::Job, LIMIT).unwrap_err().to_string();
        assert!(error.starts_with("rank 1 was lost: "), "{error}");
        client.leave(LIMIT).unwrap();
        hub.join().unwrap().1.unwrap();
    }
}

#[test]
fn a_rank_hears_that_its_agent_is_gone() {
    let mut hub = hub_of(2);
    let (mine, _other) = (stream(&mut hub, 0), stream(&mut hub, 1));
    let joining = thread::spawn(move || join(mine, 0, 2));
    while hub.agent().absent().contains(0) {
        hub.turn(LIMIT).unwrap();
    }
    let mut client = joining.join().unwrap();
    drop(hub);
    client.put(Card::default()).unwrap();
    let error = client.fence(Scope::Job, LIMIT).unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Failure(Failure::Disconnected { rank: 0, .. })
        ),
        "{error}"
    );
    assert!(client.end().is_some());
}

#[test]
fn an_abort_reaches_all_with_its_code() {
    let mut hub = hub_of(2);
    let (mine, other) = (stream(&mut hub, 0), stream(&mut hub, 1));
    let hub = serve(hub);
    let aborting = thread::spawn(move || join(other, 1, 2).abort(9, "no input", LIMIT).unwrap());
    let mut client = join(mine, 0, 2);
    let error = loop {
        // The abort may come before or after the card is put.
        if let Err(error) = client
            .put(Card::default())
            .and_then(|()| client.fence(Scope::Job, LIMIT))
        {
            break error;
        }
    };
    assert_eq!(
        error.to_string(),
        "rank 1 aborted the job with code 9: no input"
    );
    aborting.join().unwrap();
    drop(client);
    let (hub, served) = hub.join().unwrap();
    served.unwrap();
    assert_eq!(hub.agent().aborted().map(|abort| abort.code), Some(9));
}

#[test]
fn a_rank_that_does_not_read_does_not_hold_up_the_others() {
    let size = 40;
    let mut hub = hub_of(size);
    // The cards of all are many times what this stream holds.
    let (ours, deaf) = UnixStream::pair().unwrap();
    setsockopt(&ours, sockopt::SndBuf, &4096).unwrap();
    hub.attach(Who::Rank(0), Channel::plain(ours).unwrap());
    let streams: Vec<_> = (1..size).map(|rank| stream(&mut hub, rank)).collect();
    let hub = serve(hub);
    let ranks = (1_u32..).zip(streams).map(|(rank, stream)| {
        thread::spawn(move || {
            let mut client = join(stream, rank, size);
            let mut card = named(&"x".repeat(255));
            card.addresses = vec![([10, 0, 0, 1], 1).into(); 32];
            client.put(card).unwrap();
            client.fence(Scope::Job, LIMIT).unwrap();
            client.leave(LIMIT).unwrap();
        })
    });
    let ranks: Vec<_> = ranks.collect();
    // It asks for everything, takes part in the fence, and reads nothing.
    let mut member = phalanx_wireup::exchange::Member::new(0, size);
    member.put(Card::default()).unwrap();
    member.start_fence(Scope::Job).unwrap();
    (0..size).for_each(|rank| member.start_get(rank).unwrap());
    let mut channel = Channel::plain(deaf).unwrap();
    while let Some(frame) = member.poll_frame() {
        channel.queue(frame).unwrap();
    }
    while !channel.flush().unwrap() {
        channel.wait(LIMIT).unwrap();
    }
    for rank in ranks {
        rank.join().unwrap();
    }
    drop(channel);
    hub.join().unwrap().1.unwrap();
}
