//! How two ranks come to one connection: dialling, answering, electing, and giving up.
//!
//! Everything that a stranger can cause is bounded: how many handshakes are under way, for how long, and what they cost before the
//! sender has proved that it can be reached where it claims to be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phalanx_shm::Death;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionError, Incoming, ServerConfig, TransportErrorCode, VarInt};
use rustls::pki_types::CertificateDer;

use crate::link::PeerState;

use super::connection::{Conn, Stage};
use super::driver::{Driver, Due, PATIENCE};
use super::error::Refusal;
use super::identity::Fingerprint;
use super::settings::code;
use super::verify::Claim;

/// Why a connection was closed: its end is the word of the rank that closed it.
pub(super) const LEFT: VarInt = code(0);
pub(super) const FAILED: VarInt = code(1);
const REDUNDANT: VarInt = code(2);
const REFUSED: VarInt = code(3);
pub(super) const NONSENSE: VarInt = code(4);
/// All that a leaving rank sent has been read.
pub(super) const READ: VarInt = code(5);
/// The other end was given up: what was lost meanwhile cannot be made good.
pub(super) const GIVEN_UP: VarInt = code(6);

impl Driver {
    /// Sees to it that there will be a connection to `peer`.
    pub(super) fn want(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        if entry.elected.is_none() && entry.wanted.is_none() && !entry.gone {
            entry.wanted = Some(now);
            entry.tried = 0;
            if !self.knows(peer) {
                self.ask(peer, now);
                if self.knows(peer) {
                    return;
                }
            }
            self.meet_again(peer, now);
        }
    }

    fn knows(&self, peer: usize) -> bool {
        self.pins.card_of(peer).is_some()
    }

    /// Whether `peer` and this rank have something to say to each other.
    pub(super) fn is_in_touch(&self, peer: usize) -> bool {
        let entry = &self.peers[peer];
        let mut conns = self.conns.iter().flatten();
        let mut is_known =
            || conns.any(|conn| conn.peer == Some(peer) && conn.stage == Stage::Known);
        !entry.gone && (entry.elected.is_some() || entry.wanted.is_some() || is_known())
    }

    /// Dials the next address of a peer that was not reached yet, or gives up.
    pub(super) fn meet_again(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        let Some(since) = entry.wanted else {
            return;
        };
        if !self.knows(peer) {
            return self.await_card(peer, since, now);
        }
        let entry = &mut self.peers[peer];
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
        self.retime_peer(peer, again);
    }

    /// Looks again, or gives up, when there has been time enough for a card to come.
    fn await_card(&mut self, peer: usize, since: Instant, now: Instant) {
        let patience = self.settings.card_deadline;
        if now < since + patience {
            return self.retime_peer(peer, since + patience);
        }
        let reason = format!("it has not come for {patience:.1?}: has that rank started?");
        self.card_failed(peer, &reason, now);
    }

    fn retime_peer(&mut self, peer: usize, to: Instant) {
        let timer = &mut self.peers[peer].timer;
        self.wire.retime(Due::Peer(peer), timer, Some(to));
    }

    fn dial(&mut self, peer: usize, address: SocketAddr, now: Instant) {
        let name = self.pins.name_of(peer);
        // Refused only for addresses that nobody can listen at, which the deadline will say.
        if let Ok((handle, quic)) = self
            .endpoint
            .connect(now, self.client.clone(), address, &name)
        {
            self.add(handle, Conn::new(quic, Some(peer)));
        }
    }

    /// Somebody wants a connection.
    pub(super) fn receive_guest(&mut self, incoming: Incoming, now: Instant, answer: &mut Vec<u8>) {
        let from = incoming.remote_address();
        let is_known = self
            .peers
            .known()
            .any(|(_, peer)| peer.addresses.contains(&from));
        let guests = self.conns.iter().flatten().filter(|conn| conn.is_guest());
        let (all, same) = guests.fold((0, 0), |(all, same), guest| {
            (all + 1, same + usize::from(guest.remote == from))
        });
        let is_crowded = same >= GUESTS_PER_ADDRESS || !is_known && all >= STRANGERS;
        let must_prove = same > 0 || !is_known && all >= UNPROVEN;
        if self.wire.io.is_blocked() || is_crowded {
            self.endpoint.ignore(incoming);
        } else if must_prove && !incoming.remote_address_validated() {
            // Costs no state here: who claims to be somewhere has to answer from there first.
            if let Ok(transmit) = self.endpoint.retry(incoming, answer) {
                self.wire.io.send(transmit, answer);
            }
        } else {
            let config = (!is_known).then(|| Arc::clone(&self.for_strangers));
            self.admit(incoming, config, now, answer);
        }
    }

    fn admit(
        &mut self,
        incoming: Incoming,
        config: Option<Arc<ServerConfig>>,
        now: Instant,
        answer: &mut Vec<u8>,
    ) {
        let from = incoming.remote_address();
        match self.endpoint.accept(incoming, now, answer, config) {
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

    /// The handshake is complete: the other end has the key of the certificate that it has shown.
    pub(super) fn connected(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        if let Some(peer) = conn.peer {
            return self.let_in(at, conn, peer, now);
        }
        match self.claim_of(conn) {
            Ok((rank, shown)) => {
                conn.claim = Some((rank, shown));
                conn.stage = Stage::Shown;
                conn.patience = Some(now + self.settings.card_deadline);
                if !self.knows(rank) {
                    self.ask(rank, now);
                }
                self.decide(at, conn, now);
            }
            Err(reason) => self.turn_away(conn, reason, now),
        }
    }

    /// Who is at the other end of a connection that this rank did not dial, as he says, and the certificate that he has shown.
    fn claim_of(&self, conn: &Conn) -> Result<(usize, Fingerprint), String> {
        let session = conn.quic.crypto_session();
        let certificates = session
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let shown = certificates.as_deref().and_then(|list| list.first());
        let claimed = session
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| Claim::parse(&data.server_name?));
        let (Some(shown), Some(Claim { from, .. })) = (shown, claimed) else {
            return Err("a stranger without a name was turned away".to_owned());
        };
        if from == self.rank || from >= self.peers.len() {
            return Err(format!(
                "somebody who claimed to be rank {from} was turned away: this is rank {} of a job of {} ranks",
                self.rank,
                self.peers.len()
            ));
        }
        Ok((from, Fingerprint::of(shown)))
    }

    /// Lets in who claims to be a peer, or turns him away, by what that peer's card says; not before that has come.
    fn decide(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        let Some((rank, shown)) = conn.claim else {
            return;
        };
        let reason = match (self.pins.card_of(rank), self.pins.rank_of(&shown)) {
            (Some(card), _) if card == shown => return self.let_in(at, conn, rank, now),
            (_, Some(owner)) => format!(
                "rank {owner}, by its certificate, was turned away: it claimed to be rank {rank}"
            ),
            (Some(_), None) => format!(
                "somebody who claimed to be rank {rank} was turned away: his certificate, {shown}, is not the one on that rank's card"
            ),
            (None, None) if self.awaits_card(rank) => return,
            (None, None) => format!(
                "somebody who claimed to be rank {rank} was turned away: the card of that rank cannot be had"
            ),
        };
        self.turn_away(conn, reason, now);
    }

    /// The card of `rank` has come, or will not come.
    pub(super) fn decide_on_claimants(&mut self, rank: usize, now: Instant) {
        for at in 0..self.conns.len() {
            let claims = |conn: &mut Box<Conn>| {
                conn.stage == Stage::Shown && conn.claim.is_some_and(|(claimed, _)| claimed == rank)
            };
            if let Some(mut conn) = self.conns[at].take_if(claims) {
                self.decide(at, &mut conn, now);
                self.conns[at] = Some(conn);
                self.list(at);
            }
        }
    }

    /// The other end is who it claims to be.
    fn let_in(&mut self, at: usize, conn: &mut Conn, peer: usize, now: Instant) {
        conn.peer = Some(peer);
        conn.stage = Stage::Known;
        if !conn.dialled {
            conn.patience = Some(now + PATIENCE);
        }
        // The other end may have elected it while this one waited for its card.
        if self.rank < peer || conn.inbound() > 0 {
            self.elect(at, conn, now);
            self.read(conn, now);
        }
    }

    fn turn_away(&mut self, conn: &mut Conn, reason: String, now: Instant) {
        let address = conn.remote;
        conn.close(now, REFUSED, &reason);
        self.refuse(Refusal { address, reason });
    }

    /// Somebody did not prove in time who he is.
    pub(super) fn lose_patience(&mut self, at: usize, now: Instant) {
        let waits = |conn: &mut Box<Conn>| conn.stage == Stage::Shown;
        let Some(mut conn) = self.conns[at].take_if(waits) else {
            return self.drop_conn(at);
        };
        let (rank, patience) = (
            conn.claim.map(|(rank, _)| rank),
            self.settings.card_deadline,
        );
        let reason = format!(
            "somebody who claimed to be rank {} was turned away: the card of that rank has not come for {patience:.1?}",
            rank.unwrap_or_default()
        );
        self.turn_away(&mut conn, reason, now);
        self.conns[at] = Some(conn);
        self.list(at);
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
        entry.told = false;
        let mut timer = entry.timer.take();
        self.wire.retime(Due::Peer(peer), &mut timer, None);
        conn.elect();
        let window = self.settings.receive_window(self.wire.io.granted());
        conn.quic.set_receive_window(window);
        self.take_leave(peer);
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
        if let ConnectionError::ApplicationClosed(close) = reason
            && close.error_code == READ
            && self.left.is_some()
        {
            self.peers[peer].told = true;
            return;
        }
        let state = last_words(reason).unwrap_or_else(|| self.unheard(peer));
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
        if let Some(state) = last_words(reason) {
            return self.gone(peer, state, now);
        }
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

    pub(super) fn give_up(&mut self, peer: usize, trouble: String, now: Instant) {
        let state = self.unheard(peer);
        if state == PeerState::Unreachable {
            self.peers[peer].trouble = Some(trouble);
        }
        self.gone(peer, state, now);
    }

    /// What has become of a peer that is silent.
    fn unheard(&self, peer: usize) -> PeerState {
        let heard = self.peers[peer].elsewhere;
        heard.unwrap_or(PeerState::Unreachable)
    }

    /// Closes the connections that are left, so that nobody waits for a rank that is about to be no more.
    pub(super) fn part(&mut self) {
        let now = self.wire.now();
        let code = if self.left == Some(true) {
            FAILED
        } else {
            LEFT
        };
        for at in 0..self.conns.len() {
            // A handshake that is not complete cannot carry a reason; who began it hears of the end from others.
            if let Some(conn) = &mut self.conns[at]
                && !matches!(conn.stage, Stage::Shaking | Stage::Over)
            {
                conn.close(now, code, "");
                self.list(at);
            }
        }
        if !self.wire.cut {
            self.flush();
        }
    }
}

impl Conn {
    /// Somebody dialled this rank and has not proved who it is.
    fn is_guest(&self) -> bool {
        !self.dialled && matches!(self.stage, Stage::Shaking | Stage::Shown)
    }
}

/// How a peer said that it left, if it is that what ended a connection.
fn last_words(reason: &ConnectionError) -> Option<PeerState> {
    match reason {
        ConnectionError::ApplicationClosed(close) if close.error_code == LEFT => {
            Some(PeerState::Left)
        }
        // What a thread that panics exits with, if nobody catches it.
        ConnectionError::ApplicationClosed(close) if close.error_code == FAILED => {
            Some(PeerState::Dead(Death::Exit(101)))
        }
        _ => None,
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
/// Handshakes from addresses that are on no card that is here: as many as ranks may dial this one at the same time for the first time.
const STRANGERS: usize = 128;
/// Of those, the ones that need not prove first that they are where they claim to be, which takes a round trip.
const UNPROVEN: usize = 4;

const ACCESS_DENIED: u64 = 49;
const NO_APPLICATION_PROTOCOL: u64 = 120;
