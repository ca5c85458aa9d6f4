//! How two ranks come to one connection: dialling, answering, electing, and giving up.
//!
//! Everything that a stranger can cause is bounded: how many handshakes are under way, for how long, and what they cost before the
//! sender has proved that it can be reached where it claims to be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phalanx_shm::Death;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ClientConfig, ConnectionError, Incoming, TransportErrorCode, VarInt};
use rustls::pki_types::CertificateDer;

use crate::link::PeerState;

use super::connection::{Conn, Stage};
use super::driver::{Driver, PATIENCE};
use super::error::Refusal;
use super::settings::code;
use super::verify::Claim;
use super::wire::Due;

/// Why a connection was closed: its end is the word of the rank that closed it.
pub(super) const LEFT: VarInt = code(0);
pub(super) const FAILED: VarInt = code(1);
const REDUNDANT: VarInt = code(2);
const REFUSED: VarInt = code(3);
pub(super) const NONSENSE: VarInt = code(4);
/// All that a leaving rank sent has been read.
pub(super) const READ: VarInt = code(5);
/// The other end was given up: what was lost meanwhile cannot be made good.
const GIVEN_UP: VarInt = code(6);

impl Driver {
    /// Sees to it that there will be a connection to `peer`.
    pub(super) fn want(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        if entry.elected.is_none() && entry.wanted.is_none() && !entry.gone {
            entry.wanted = Some(now);
            entry.tried = 0;
            self.meet_again(peer, now);
        }
    }

    /// Dials the next address of a peer that was not reached yet, or gives up.
    pub(super) fn meet_again(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        let Some(since) = entry.wanted else {
            return;
        };
        let end = since + self.settings.dial_deadline;
        if now >= end {
            let tried: Vec<_> = entry.addresses.iter().map(SocketAddr::to_string).collect();
            let trouble = format!(
                "no UDP path to rank {peer} at {}: nothing answered for {:.1?}; does a firewall block UDP, or is it another host's address?",
                tried.join(", "),
                self.settings.dial_deadline
            );
            return self.give_up(peer, trouble, now);
        }
        let next = (entry.tried..entry.addresses.len())
            .find(|&index| self.wire.io.reaches(entry.addresses[index]));
        let mut again = end;
        if let Some(index) = next {
            entry.tried = index + 1;
            let address = entry.addresses[index];
            if entry.tried < entry.addresses.len() {
                again = end.min(now + NEXT_ADDRESS);
            }
            self.dial(peer, address, now);
        } else if entry.tried == 0 {
            let trouble = format!(
                "rank {peer} cannot be reached from {}: none of its addresses, {:?}, is of that kind",
                self.wire.io.local(),
                entry.addresses
            );
            return self.give_up(peer, trouble, now);
        }
        let mut timer = self.peers[peer].timer;
        self.wire.retime(Due::Peer(peer), &mut timer, Some(again));
        self.peers[peer].timer = timer;
    }

    fn dial(&mut self, peer: usize, address: SocketAddr, now: Instant) {
        let name = self.pins.name_of(peer);
        // Refused only for addresses that nobody can listen at, which the deadline will say.
        if let Ok((handle, quic)) =
            self.endpoint
                .connect(now, self.client_for(address), address, &name)
        {
            self.add(handle, Conn::new(quic, Some(peer)));
        }
    }

    fn client_for(&self, address: SocketAddr) -> ClientConfig {
        let mut client = self.client.clone();
        if self.wire.io.paths().is_home(address.ip()) {
            client.transport_config(Arc::clone(&self.home.transport));
        }
        client
    }

    /// Somebody wants a connection.
    pub(super) fn receive_guest(&mut self, incoming: Incoming, now: Instant, answer: &mut Vec<u8>) {
        let from = incoming.remote_address();
        let is_known = self.peers.iter().any(|peer| peer.addresses.contains(&from));
        let guests = self.conns.iter().flatten().filter(|conn| conn.is_guest());
        let (all, same) = guests.fold((0, 0), |(all, same), guest| {
            (all + 1, same + usize::from(guest.remote == from))
        });
        let is_crowded = same >= GUESTS_PER_ADDRESS || !is_known && all >= STRANGERS;
        let must_prove = !is_known || same > 0;
        if self.wire.io.is_blocked() || is_crowded {
            self.endpoint.ignore(incoming);
        } else if must_prove && !incoming.remote_address_validated() {
            // Costs no state here: who claims to be somewhere has to answer from there first.
            if let Ok(transmit) = self.endpoint.retry(incoming, answer) {
                self.wire.io.send(transmit, answer);
            }
        } else {
            self.admit(incoming, from, now, answer);
        }
    }

    fn admit(&mut self, incoming: Incoming, from: SocketAddr, now: Instant, answer: &mut Vec<u8>) {
        let is_home = self.wire.io.paths().is_home(from.ip().to_canonical());
        let server = is_home.then(|| Arc::clone(&self.home.server));
        match self.endpoint.accept(incoming, now, answer, server) {
            Ok((handle, quic)) => {
                let mut conn = Conn::new(quic, None);
                conn.patience = Some(now + PATIENCE);
                conn.refused = self.pins.take_refusal();
                self.add(handle, conn);
            }
            Err(error) => {
                let refused = self.pins.take_refusal();
                self.turned_away(from, refused, &error.cause);
                if let Some(transmit) = error.response {
                    self.wire.io.send(transmit, answer);
                }
            }
        }
    }

    /// The handshake is complete, and the certificate is one of the job's.
    pub(super) fn connected(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        let peer = match conn.peer {
            Some(peer) => peer,
            None => match self.identify(conn) {
                Ok(peer) => peer,
                Err(reason) => {
                    let address = conn.remote;
                    conn.close(now, REFUSED, &reason);
                    return self.refuse(Refusal { address, reason });
                }
            },
        };
        conn.peer = Some(peer);
        conn.stage = Stage::Known;
        if self.rank < peer {
            self.elect(at, conn, now);
        }
    }

    /// Who is at the other end of a connection that this rank did not dial.
    fn identify(&self, conn: &Conn) -> Result<usize, String> {
        let session = conn.quic.crypto_session();
        let certificates = session
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let shown = certificates
            .as_deref()
            .and_then(|certificates| self.pins.rank_of(certificates.first()?));
        let claimed = session
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| Claim::parse(&data.server_name?));
        match (shown, claimed) {
            (Some(shown), Some(claim)) if shown == claim.from && shown != self.rank => Ok(shown),
            (Some(shown), Some(claim)) => Err(format!(
                "rank {shown}, by its certificate, was turned away: it claimed to be rank {}",
                claim.from
            )),
            _ => Err("a stranger without a name was turned away".to_owned()),
        }
    }

    /// Uses this connection and no other; or not, if another is used already.
    pub(super) fn elect(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        let Some(peer) = conn.peer else {
            return;
        };
        let entry = &mut self.peers[peer];
        if entry.gone {
            return conn.close(now, GIVEN_UP, "it has given this rank up");
        }
        if entry.elected.is_some() {
            return conn.close(now, REDUNDANT, "another connection is used");
        }
        entry.elected = Some(at);
        entry.wanted = None;
        let mut timer = entry.timer.take();
        self.wire.retime(Due::Peer(peer), &mut timer, None);
        conn.elect();
        for other in 0..self.conns.len() {
            let Some(redundant) = self.conns[other].as_mut() else {
                continue;
            };
            if redundant.peer == Some(peer) && redundant.stage != Stage::Over {
                redundant.close(now, REDUNDANT, "another connection is used");
                self.list(other);
            }
        }
    }

    /// A connection has ended, or never came to be.
    pub(super) fn lost(
        &mut self,
        at: usize,
        conn: &mut Conn,
        reason: ConnectionError,
        now: Instant,
    ) {
        let refused = conn.refused.take();
        let stage = std::mem::replace(&mut conn.stage, Stage::Over);
        conn.patience = None;
        match (stage, conn.peer) {
            (Stage::Over, _) => {}
            (Stage::Elected, Some(peer)) if self.peers[peer].elected == Some(at) => {
                self.end(peer, conn, &reason, now);
            }
            (_, Some(peer)) if conn.dialled => {
                self.dial_failed(peer, conn.remote, refused, &reason, now)
            }
            _ => self.turned_away(conn.remote, refused, &reason),
        }
    }

    /// The connection that was used has ended: so has the peer, for this rank.
    fn end(&mut self, peer: usize, conn: &Conn, reason: &ConnectionError, now: Instant) {
        let state = match reason {
            ConnectionError::ApplicationClosed(close)
                if close.error_code == READ && self.left.is_some() =>
            {
                self.peers[peer].told = true;
                return;
            }
            ConnectionError::ApplicationClosed(close) if close.error_code == LEFT => {
                PeerState::Left
            }
            // What a thread that panics exits with, if nobody catches it.
            ConnectionError::ApplicationClosed(close) if close.error_code == FAILED => {
                PeerState::Dead(Death::Exit(101))
            }
            _ => PeerState::Unreachable,
        };
        if state == PeerState::Unreachable && !self.peers[peer].gone {
            let address = conn.remote;
            let trouble = match reason {
                ConnectionError::TimedOut => format!(
                    "rank {peer} at {address} has not been heard of for {:.1?}: its host or the network between is down",
                    self.settings.idle_timeout
                ),
                _ => refusal_by(peer, address, reason),
            };
            if conn.inbound() == 0 {
                let reason = trouble.clone();
                self.refuse(Refusal { address, reason });
            }
            self.peers[peer].trouble = Some(trouble);
        }
        self.gone(peer, state, now);
    }

    fn dial_failed(
        &mut self,
        peer: usize,
        address: SocketAddr,
        refused: Option<String>,
        reason: &ConnectionError,
        now: Instant,
    ) {
        let mut others = self.conns.iter().flatten();
        let is_last = !others.any(|conn| conn.peer == Some(peer) && conn.stage != Stage::Over);
        let is_final = match reason {
            // It has another connection to this rank, or will have.
            ConnectionError::ApplicationClosed(close) if close.error_code == REDUNDANT => return,
            ConnectionError::TimedOut | ConnectionError::Reset | ConnectionError::LocallyClosed => {
                false
            }
            _ => true,
        };
        if !is_final {
            // Somebody who went away may come back; the deadline is what it was.
            if is_last && self.peers[peer].wanted.is_some() {
                let mut timer = self.peers[peer].timer;
                self.wire
                    .retime(Due::Peer(peer), &mut timer, Some(now + NEXT_ADDRESS));
                self.peers[peer].timer = timer;
                self.peers[peer].tried = 0;
            }
            return;
        }
        let trouble = match refused {
            Some(reason) => format!("rank {peer} is not at {address}: {reason}"),
            None => refusal_by(peer, address, reason),
        };
        let reason = trouble.clone();
        self.refuse(Refusal { address, reason });
        let has_more = self.peers[peer].tried < self.peers[peer].addresses.len();
        if is_last && !has_more {
            self.give_up(peer, trouble, now);
        }
    }

    /// Somebody who dialled this rank is not let in, or went away.
    fn turned_away(
        &mut self,
        address: SocketAddr,
        refused: Option<String>,
        reason: &ConnectionError,
    ) {
        let reason = match (refused, reason) {
            (Some(reason), _) => reason,
            (None, ConnectionError::TransportError(error)) => {
                format!("a stranger was turned away: {error}")
            }
            (None, ConnectionError::ConnectionClosed(close)) if is_alert(close.error_code) => {
                "somebody who dialled this rank did not accept its certificate: the cards of this job are mixed up, or another rank was there before".to_owned()
            }
            (None, ConnectionError::ApplicationClosed(close)) if close.error_code == REFUSED => {
                String::from_utf8_lossy(&close.reason).into_owned()
            }
            _ => return,
        };
        self.refuse(Refusal { address, reason });
    }

    fn give_up(&mut self, peer: usize, trouble: String, now: Instant) {
        self.peers[peer].trouble = Some(trouble);
        self.gone(peer, PeerState::Unreachable, now);
    }
}

impl Conn {
    /// Somebody dialled this rank and has not proved who it is.
    fn is_guest(&self) -> bool {
        !self.dialled && self.stage == Stage::Shaking
    }
}

/// What to say of a peer that turned this rank away.
fn refusal_by(peer: usize, address: SocketAddr, reason: &ConnectionError) -> String {
    let said = match reason {
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code) => {
            match u64::from(close.error_code) & 0xff {
                ACCESS_DENIED => {
                    "it is of another job, or another rank than its card says".to_owned()
                }
                NO_APPLICATION_PROTOCOL => "it is no rank of this version of Phalanx".to_owned(),
                CERTIFICATE_UNKNOWN => "this rank's certificate is on none of its cards".to_owned(),
                other => format!("its TLS says {other}"),
            }
        }
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        other => other.to_string(),
    };
    format!("rank {peer} at {address} does not talk to this rank: {said}")
}

fn is_alert(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// When the next address of a peer is tried beside those before.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Handshakes from one address at a time: both ranks of a pair dial, perhaps by several addresses.
const GUESTS_PER_ADDRESS: usize = 4;
/// Handshakes from addresses that are on no card.
const STRANGERS: usize = 32;

const CERTIFICATE_UNKNOWN: u64 = 46;
const ACCESS_DENIED: u64 = 49;
const NO_APPLICATION_PROTOCOL: u64 = 120;
