//! Everything that ranks do to each other, on three hosts with two ranks each: over shared memory inside a host, over QUIC between hosts.

use phalanx::describe::Carrier;
use phalanx::{ANY_SOURCE, ANY_TAG, Message, Result, Tag, World};

use super::job::{self, Job};
use super::network::{Family, Network};
use crate::harness;

#[test]
fn over_ipv4_with_frames_of_1500_bytes() {
    on_three_hosts(1500, Family::V4);
}

#[test]
fn over_ipv4_with_frames_of_9000_bytes() {
    on_three_hosts(9000, Family::V4);
}

#[test]
fn over_ipv6_with_frames_of_1500_bytes() {
    on_three_hosts(1500, Family::V6);
}

#[test]
fn over_ipv6_with_frames_of_9000_bytes() {
    on_three_hosts(9000, Family::V6);
}

fn on_three_hosts(mtu: u32, family: Family) {
    let network = Network::switched(3, mtu, family);
    // The ranks of a host are no neighbours by number.
    Job::new(&network, &[0, 1, 2, 0, 1, 2], ranks::exchange).succeed();
}

pub(crate) mod ranks {
    use super::*;

    #[test]
    pub(crate) fn exchange() {
        harness::rank(|world| {
            links_are_the_best_there_are(world)?;
            everything(world)
        });
    }

    #[test]
    pub(crate) fn greet() {
        harness::rank(all_greet);
    }
}

/// Every rank hears something of every other.
pub(crate) fn all_greet(world: &World) -> Result<()> {
    (0..world.size()).try_for_each(|peer| greet(world, peer))
}

/// Exchanges a message with `peer`, or with itself.
pub(crate) fn greet(world: &World, peer: usize) -> Result<()> {
    let mut got = [0];
    world.sendrecv(
        (peer, GREETING),
        &[world.rank()][..],
        (peer, GREETING),
        &mut got,
    )?;
    assert_eq!(got, [peer]);
    Ok(())
}

/// Ranks of one host share memory, and all others talk over QUIC, though they run on one machine.
fn links_are_the_best_there_are(world: &World) -> Result<()> {
    let (me, places) = (world.rank(), job::places());
    for rank in (0..world.size()).filter(|&rank| rank != me) {
        let expected = if places[rank] == places[me] {
            Carrier::Shm
        } else {
            Carrier::Quic
        };
        assert_eq!(
            world.carrier_to(rank)?,
            expected,
            "from rank {me} to rank {rank}"
        );
    }
    Ok(())
}

/// All kinds of messages between all ranks.
pub(crate) fn everything(world: &World) -> Result<()> {
    for bytes in SIZES {
        all_pairs(world, bytes)?;
        ring(world, bytes)?;
    }
    wildcards_and_probes(world)?;
    synchronous(world)?;
    communicators(world)?;
    values(world)?;
    world.barrier()
}

/// Every rank sends to every other, and nobody waits for anybody before it has sent.
fn all_pairs(world: &World, bytes: usize) -> Result<()> {
    let me = world.rank();
    let others: Vec<_> = (0..world.size()).filter(|&rank| rank != me).collect();
    let sends = others.iter().map(|&to| {
        let message = content(me, to, bytes);
        Ok(world.isend(to, EXCHANGE, message)?)
    });
    let sends = sends.collect::<Result<Vec<_>>>()?;
    for &from in &others {
        let got = world.recv::<[u8]>(from, EXCHANGE)?;
        assert!(
            *got == content(from, me, bytes),
            "{bytes} bytes from rank {from}"
        );
    }
    phalanx::wait_all(sends)?;
    Ok(())
}

fn ring(world: &World, bytes: usize) -> Result<()> {
    let (me, size) = (world.rank(), world.size());
    let (right, left) = ((me + 1) % size, (me + size - 1) % size);
    let mut got = vec![0; bytes];
    let sent = content(me, right, bytes);
    let status = world.sendrecv((right, RING), &sent[..], (left, RING), &mut got)?;
    assert_eq!((status.source(), status.len()), (left, bytes));
    assert!(
        got == content(left, me, bytes),
        "{bytes} bytes from rank {left}"
    );
    Ok(())
}

/// Rank 0 takes what comes, by what it is, and finds that each rank's messages have kept their order.
fn wildcards_and_probes(world: &World) -> Result<()> {
    const EACH: usize = 20;
    let (me, size) = (world.rank(), world.size());
    if me > 0 {
        for number in 0..EACH {
            // Every fourth is too long to go along with its envelope.
            let len = if number % 4 == 3 { 40_000 } else { number };
            world.send(0, 10 + number as i32, &vec![me as u32; len][..])?;
        }
        return world.barrier();
    }
    let mut next = vec![0; size];
    for round in 0..EACH * (size - 1) {
        let status = world.probe(ANY_SOURCE, ANY_TAG)?;
        let (source, tag) = (status.source, status.tag);
        let number = (tag - 10) as usize;
        assert_eq!(
            number, next[source],
            "rank {source} has been overtaken by itself"
        );
        next[source] += 1;
        let got = if round % 2 == 0 {
            world.recv::<[u32]>(source, ANY_TAG)?
        } else {
            world.mprobe(source, tag)?.recv::<[u32]>()?
        };
        assert_eq!((got.source(), got.tag()), (source, tag));
        let len = if number % 4 == 3 { 40_000 } else { number };
        assert!(got.len() == len && got.iter().all(|&word| word == source as u32));
    }
    assert!(world.iprobe(ANY_SOURCE, ANY_TAG)?.is_none());
    world.barrier()
}

/// A synchronous send returns when the message has been matched, and not before.
fn synchronous(world: &World) -> Result<()> {
    let (me, size) = (world.rank(), world.size());
    let (right, left) = ((me + 1) % size, (me + size - 1) % size);
    let mut pending = world.issend(right, SYNCHRONOUS, vec![me as u64; 3])?;
    world.barrier()?;
    assert!(pending.test()?.is_none(), "nobody has received it yet");
    world.barrier()?;
    assert_eq!(*world.recv::<[u64]>(left, SYNCHRONOUS)?, [left as u64; 3]);
    pending.wait()?;
    if me % 2 == 0 {
        world.ssend(right, SYNCHRONOUS, &[me as u8; 100_000][..])?;
        world.recv::<[u8]>(left, SYNCHRONOUS)?;
    } else {
        world.recv::<[u8]>(left, SYNCHRONOUS)?;
        world.ssend(right, SYNCHRONOUS, &[me as u8; 100_000][..])?;
    }
    Ok(())
}

/// Messages of one communicator are not seen in another.
fn communicators(world: &World) -> Result<()> {
    let (me, size) = (world.rank(), world.size());
    let (right, left) = ((me + 1) % size, (me + size - 1) % size);
    let twin = world.duplicate()?;
    world.send(right, RING, &[1_u8][..])?;
    twin.send(right, RING, &[2_u8][..])?;
    assert_eq!(*twin.recv::<[u8]>(left, RING)?, [2]);
    assert_eq!(*world.recv::<[u8]>(left, RING)?, [1]);

    // Backwards, and mixed over the hosts.
    let part = world
        .split(Some(me as u32 % 2), -(me as i32))?
        .expect("every rank has a color");
    let members: Vec<_> = (0..size).rev().filter(|rank| rank % 2 == me % 2).collect();
    assert_eq!((part.size(), members[part.rank()]), (members.len(), me));
    for (rank, &member) in members.iter().enumerate() {
        let mut got = [0];
        part.sendrecv((rank, RING), &[me][..], (rank, RING), &mut got)?;
        assert_eq!(got, [member]);
    }
    part.barrier()
}

#[derive(Debug, Message, PartialEq)]
struct Survey {
    title: String,
    samples: Vec<f64>,
    by: Option<Author>,
}

#[derive(Debug, Message, PartialEq)]
enum Author {
    Robot { serial: u64 },
    Human(String),
}

/// Values with everything nested in them, of all sizes.
fn values(world: &World) -> Result<()> {
    let me = world.rank();
    for samples in [0, 1, 100, 10_000, 500_000] {
        for distance in 1..world.size() {
            let (to, from) = (
                (me + distance) % world.size(),
                (me + world.size() - distance) % world.size(),
            );
            let sent = world.isend(to, VALUE, survey(me, samples))?;
            let got = world.recv::<Survey>(from, VALUE)?;
            assert!(
                got.to_owned() == survey(from, samples),
                "{samples} samples from rank {from}"
            );
            sent.wait()?;
        }
    }
    Ok(())
}

fn survey(rank: usize, samples: usize) -> Survey {
    Survey {
        title: format!("what rank {rank} saw"),
        samples: (0..samples)
            .map(|place| (rank * samples + place) as f64)
            .collect(),
        by: match rank % 3 {
            0 => None,
            1 => Some(Author::Robot {
                serial: rank as u64,
            }),
            _ => Some(Author::Human("Ada".repeat(rank))),
        },
    }
}

/// Bytes of which each says between whom it goes and where it belongs.
fn content(from: usize, to: usize, bytes: usize) -> Vec<u8> {
    let seed = (from * 31 + to * 7) as u64;
    (0..bytes as u64)
        .map(|place| ((place + seed).wrapping_mul(0x9e37_79b9) >> 13) as u8)
        .collect()
}

/// One for each way that messages go, and one that nothing carries in one piece.
const SIZES: [usize; 5] = [0, 48, 1 << 10, 64 << 10, 4 << 20];

const EXCHANGE: Tag = Tag::new(1);
const RING: Tag = Tag::new(2);
const SYNCHRONOUS: Tag = Tag::new(3);
const VALUE: Tag = Tag::new(4);
const GREETING: Tag = Tag::new(5);
