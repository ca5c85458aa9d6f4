//! The floors of the network: 8 bytes there and back by UDP and by TCP, and a stream of TCP, between ranks 0 and 1.
//!
//! As the library does it, nobody sleeps: the sockets are not blocking, and both ranks ask until there is something. One address for all,
//! and the same as the library's between ranks of one host.

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use phalanx::Communicator;

use crate::floor::Taken;

/// A rank's sockets to the other.
#[derive(Debug)]
pub(crate) struct Network {
    udp: UdpSocket,
    tcp: TcpStream,
    /// Datagrams of all probes up to now: equal at both sides, unless one was lost.
    sequence: u64,
    /// What is written to a stream, and what is read into.
    buffer: Vec<u8>,
}

impl Network {
    /// Connects this rank, which is 0 or 1, with `peer`, which does the same.
    pub(crate) fn connect(world: &Communicator, peer: usize) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(SOMEWHERE).context(NO_SOCKET)?;
        let listener = TcpListener::bind(SOMEWHERE).context(NO_SOCKET)?;
        let mine = [udp.local_addr()?.port(), listener.local_addr()?.port()];
        let mut theirs = [0; 2];
        world.sendrecv((peer, PORTS), &mine[..], (peer, PORTS), &mut theirs)?;
        udp.connect((ADDRESS, theirs[0])).context(NO_SOCKET)?;
        let tcp = if world.rank() < peer {
            let tcp = TcpStream::connect((ADDRESS, theirs[1])).context(NO_SOCKET)?;
            world.send(peer, PORTS, &[tcp.local_addr()?.port()][..])?;
            tcp
        } else {
            let mut port = [0];
            world.recv_into(peer, PORTS, &mut port)?;
            accept(&listener, port[0]).context(NO_SOCKET)?
        };
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Self {
            udp,
            tcp,
            sequence: 0,
            buffer: vec![0x5A; WRITE],
        })
    }

    /// Probes both floors together with the peer, which does the same; one of the two leads.
    pub(crate) fn bounce(&mut self, leads: bool) -> anyhow::Result<Taken> {
        let udp = self.bounce_udp(leads)?;
        let tcp = self.bounce_tcp(leads)?;
        Ok(Taken::Network { udp, tcp })
    }

    /// None when a datagram was lost, or is so late that it might be.
    fn bounce_udp(&mut self, leads: bool) -> anyhow::Result<Option<f64>> {
        let first = self.sequence;
        self.sequence += 1 + UDP_ROUNDS;
        let mut started = Instant::now();
        for number in first..self.sequence {
            if leads {
                self.send_datagram(number)?;
            }
            if !self.await_datagram(number)? {
                return Ok(None);
            }
            if !leads {
                self.send_datagram(number)?;
            }
            // In the first round the peer is still on its way here.
            if number == first {
                started = Instant::now();
            }
        }
        Ok(Some(one_way(started.elapsed(), UDP_ROUNDS)))
    }

    fn send_datagram(&self, number: u64) -> anyhow::Result<()> {
        spin(|| self.udp.send(&number.to_le_bytes()), PATIENCE)?
            .context("no room for a datagram of the probe")
            .map(drop)
    }

    /// Reads over older ones, which were given up. False when it does not come.
    fn await_datagram(&self, number: u64) -> anyhow::Result<bool> {
        let mut bytes = [0; 8];
        loop {
            if spin(|| self.udp.recv(&mut bytes), LOST)?.is_none() {
                return Ok(false);
            }
            if u64::from_le_bytes(bytes) == number {
                return Ok(true);
            }
        }
    }

    fn bounce_tcp(&mut self, leads: bool) -> anyhow::Result<f64> {
        let mut started = Instant::now();
        for round in 0..=TCP_ROUNDS {
            if leads {
                self.write(8)?;
            }
            self.read(8)?;
            if !leads {
                self.write(8)?;
            }
            if round == 0 {
                started = Instant::now();
            }
        }
        Ok(one_way(started.elapsed(), TCP_ROUNDS))
    }

    /// Writes or reads a stream and waits for the word that it has arrived; nanoseconds for each write.
    pub(crate) fn stream(&mut self, leads: bool) -> anyhow::Result<f64> {
        let started = Instant::now();
        for _ in 0..WRITES {
            if leads {
                self.write(WRITE)?;
            } else {
                self.read(WRITE)?;
            }
        }
        if leads {
            self.read(1)?;
        } else {
            self.write(1)?;
        }
        Ok(started.elapsed().as_nanos() as f64 / WRITES as f64)
    }

    fn write(&mut self, len: usize) -> anyhow::Result<()> {
        let mut done = 0;
        while done < len {
            let Self { tcp, buffer, .. } = self;
            let Some(count) = spin(|| tcp.write(&buffer[done..len]), PATIENCE)? else {
                bail!("the other rank does not read the stream of the probe");
            };
            done += count;
        }
        Ok(())
    }

    fn read(&mut self, len: usize) -> anyhow::Result<()> {
        let mut done = 0;
        while done < len {
            let Self { tcp, buffer, .. } = self;
            match spin(|| tcp.read(&mut buffer[done..len]), PATIENCE)? {
                None | Some(0) => bail!("the other rank does not write the stream of the probe"),
                Some(count) => done += count,
            }
        }
        black_box(&self.buffer[..len]);
        Ok(())
    }
}

/// Anybody of this machine may connect: who does not come from the peer's `port` is not the peer.
fn accept(listener: &TcpListener, port: u16) -> io::Result<TcpStream> {
    loop {
        let (stream, from) = listener.accept()?;
        if from == SocketAddr::new(ADDRESS, port) {
            return Ok(stream);
        }
    }
}

/// Asks until there is an answer; None when there is none within `patience`.
fn spin<T>(
    mut ask: impl FnMut() -> io::Result<T>,
    patience: Duration,
) -> anyhow::Result<Option<T>> {
    let mut since = None;
    let mut turns = 0_u32;
    loop {
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("the network of the probe has failed"),
        }
        turns += 1;
        if turns.is_multiple_of(1 << 12) {
            let since: &mut Instant = since.get_or_insert_with(Instant::now);
            if since.elapsed() > patience {
                return Ok(None);
            }
            // The peer may share our core.
            std::thread::yield_now();
        }
    }
}

fn one_way(time: Duration, rounds: u64) -> f64 {
    time.as_nanos() as f64 / (2 * rounds) as f64
}

/// The ranks of a measurement are processes of one host.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SOMEWHERE: (IpAddr, u16) = (ADDRESS, 0);

/// Some 200 us each on common machines: long beside the clock's 24 ns, short beside the seconds after which virtual cores move.
const UDP_ROUNDS: u64 = 16;
const TCP_ROUNDS: u64 = 16;

/// Bytes of a write to a stream, and writes of a sample: some 5 ms.
pub(crate) const WRITE: usize = 1 << 20;
const WRITES: u64 = 16;

/// Between processes of one host a datagram is on its way for microseconds.
const LOST: Duration = Duration::from_secs(1);

/// Beyond any measurement: a rank that is silent for as long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

const PORTS: i32 = 5;
const NO_SOCKET: &str = "cannot make the sockets of the probe";

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx::testing::run;

    #[test]
    fn two_ranks_probe_again_and_again() {
        let found = run(2, |world| {
            let leads = world.rank() == 0;
            let mut network = Network::connect(world, 1 - world.rank()).unwrap();
            let bounces = [(); 3].map(|()| network.bounce(leads).unwrap());
            Ok((bounces, network.stream(leads).unwrap()))
        });
        for (bounces, stream) in found {
            assert!(stream > 0.0);
            for bounce in bounces {
                let Taken::Network { udp, tcp } = bounce else {
                    panic!("{bounce:?} is not of the network");
                };
                assert!(
                    udp.is_some_and(|time| time > 0.0) && tcp > 0.0,
                    "{bounce:?}"
                );
            }
        }
    }

    #[test]
    fn a_datagram_of_a_probe_that_was_given_up_is_read_over() {
        run(2, |world| {
            let leads = world.rank() == 0;
            let mut network = Network::connect(world, 1 - world.rank()).unwrap();
            network.sequence = 100;
            // As if an answer had come too late, in both directions.
            network.send_datagram(99).unwrap();
            world.barrier()?;
            let bounce = network.bounce(leads).unwrap();
            assert!(bounce.floor().is_some(), "{bounce:?}");
            Ok(())
        });
    }

    #[test]
    fn a_peer_that_has_gone_is_an_error_and_no_hang() {
        run(2, |world| {
            let mut network = Network::connect(world, 1 - world.rank()).unwrap();
            if world.rank() == 0 {
                let error = network.bounce_tcp(true).unwrap_err();
                assert!(error.to_string().contains("probe"), "{error}");
            }
            Ok(())
        });
    }
}
