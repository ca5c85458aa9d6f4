//! How fast messages are across a line that loses one packet in a hundred and takes a millisecond there and back, beside what TCP does
//! there. No test: `ci/lossy` runs it, and prints the figures.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use phalanx::{Result, World, wait_all};

use super::forwarder::Faults;
use super::job::Job;
use super::network::{Family, Network};
use crate::harness;

#[test]
fn figures() {
    if std::env::var_os(MEASURE).is_none() {
        return;
    }
    for lost in [0, 10] {
        let faults = Faults {
            delay: Duration::from_micros(500),
            lost,
            ..Faults::default()
        };
        // In turns, so that what else the machine does meets all alike.
        for round in 1..=3 {
            println!("-- {lost} of 1000 packets lost, 1 ms there and back, round {round}");
            run("phalanx", faults, ranks::phalanx);
            run("tcp", faults, ranks::tcp);
        }
    }
}

fn run(name: &str, faults: Faults, function: impl Fn()) {
    let network = Network::faulty(1500, Family::V4, faults);
    let said = Job::new(&network, &[0, 1], function).succeed();
    let is_figure = |line: &&str| line.contains(" MB/s") || line.contains(" p99 ");
    for line in said[0].lines().filter(is_figure) {
        println!("{name:>8}: {line}");
    }
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn phalanx() {
        harness::rank(|world| {
            latency(world)?;
            bandwidth(world)
        });
    }

    #[test]
    pub(super) fn tcp() {
        if harness::is_rank() {
            let address = std::env::var("PHALANX_RENDEZVOUS").unwrap();
            match std::env::var("PHALANX_RANK").unwrap().as_str() {
                "0" => lead_tcp(TcpListener::bind(address).unwrap().accept().unwrap().0),
                _ => follow_tcp(connect(&address)),
            }
        }
    }
}

fn latency(world: &World) -> Result<()> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut ball = [0_u64];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        if world.rank() == 0 {
            world.send(1, 0, &ball[..])?;
            world.recv_into(1, 0, &mut ball)?;
            rounds.push(began.elapsed());
        } else {
            world.recv_into(0, 0, &mut ball)?;
            world.send(0, 0, &ball[..])?;
        }
    }
    print_latency(rounds);
    Ok(())
}

fn bandwidth(world: &World) -> Result<()> {
    let message = vec![1_u8; MESSAGE];
    let mut sent = 0;
    let began = Instant::now();
    loop {
        // Rank 0 says whether another window comes.
        let mut goes_on = [u8::from(began.elapsed() < DURATION)];
        if world.rank() == 0 {
            world.send(1, 1, &goes_on[..])?;
        } else {
            world.recv_into(0, 1, &mut goes_on)?;
        }
        if goes_on == [0] {
            break;
        }
        if world.rank() == 0 {
            let sends = (0..WINDOW).map(|_| Ok(world.isend(1, 2, message.clone())?));
            wait_all(sends.collect::<Result<Vec<_>>>()?)?;
            sent += WINDOW * MESSAGE;
        } else {
            for _ in 0..WINDOW {
                black_box(&*world.recv::<[u8]>(0, 2)?);
            }
        }
    }
    if world.rank() == 0 {
        world.recv::<[u8]>(1, 3)?;
        print_bandwidth(sent, began.elapsed());
        return Ok(());
    }
    world.send(0, 3, &[][..] as &[u8])
}

fn lead_tcp(mut stream: TcpStream) {
    prepare(&stream);
    let mut ball = [0; 8];
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        stream.write_all(&ball).unwrap();
        stream.read_exact(&mut ball).unwrap();
        began.elapsed()
    });
    print_latency(rounds.collect());
    let message = vec![1_u8; MESSAGE];
    let (mut sent, began) = (0, Instant::now());
    while began.elapsed() < DURATION {
        stream.write_all(&message).unwrap();
        sent += MESSAGE;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_exact(&mut ball).unwrap();
    print_bandwidth(sent, began.elapsed());
}

fn follow_tcp(mut stream: TcpStream) {
    prepare(&stream);
    let mut ball = [0; 8];
    for _ in 0..ROUNDS {
        stream.read_exact(&mut ball).unwrap();
        stream.write_all(&ball).unwrap();
    }
    let mut buffer = vec![0; MESSAGE];
    while stream.read(&mut buffer).unwrap() > 0 {
        black_box(&buffer);
    }
    stream.write_all(&ball).unwrap();
}

fn connect(address: &str) -> TcpStream {
    let bound = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < bound, "{address}: {error}"),
        }
    }
}

fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    setsockopt(stream, sockopt::TcpCongestion, &"cubic".into()).unwrap();
}

fn print_latency(mut rounds: Vec<Duration>) {
    if rounds.is_empty() {
        return;
    }
    rounds.sort_unstable();
    let percentile = |of_thousand: usize| rounds[rounds.len() * of_thousand / 1000];
    println!(
        "8 B there and back: p50 {:?} p99 {:?} p99.9 {:?}",
        percentile(500),
        percentile(990),
        percentile(999)
    );
}

fn print_bandwidth(bytes: usize, time: Duration) {
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    println!("messages of 1 MiB: {rate:.1} MB/s");
}

const MEASURE: &str = "MEASURE_LOSSY_LINE";
const ROUNDS: usize = 2_000;
const MESSAGE: usize = 1 << 20;
const WINDOW: usize = 16;
const DURATION: Duration = Duration::from_secs(4);
