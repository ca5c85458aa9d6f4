//! How connections end, and what that says of the ranks at their other ends.

use std::net::SocketAddr;
use std::time::Instant;

use phalanx_shm::Death;
use quinn_proto::{ConnectionError, TransportErrorCode, VarInt};

use crate::link::PeerState;

use super::connection::{Conn, Stage};
use super::driver::Driver;
use super::error::Refusal;
use super::meeting::NEXT_ADDRESS;
use super::settings::code;
use super::wire::Due;

/// Why a connection was closed: its end is the word of the rank that closed it.
pub(super) const LEFT: VarInt = code(0);
pub(super) const FAILED: VarInt = code(1);
pub(super) const REDUNDANT: VarInt = code(2);
pub(super) const REFUSED: VarInt = code(3);
pub(super) const NONSENSE: VarInt = code(4);
/// All that a leaving rank sent has been read.
pub(super) const READ: VarInt = code(5);
/// The other end was given up: what was lost meanwhile cannot be made good.
pub(super) const GIVEN_UP: VarInt = code(6);

impl Driver {
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
                self.dial_failed(peer, conn.remote(), refused, &reason, now)
            }
            _ => self.turned_away(conn.remote(), refused, &reason),
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
            let address = conn.remote();
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
    pub(super) fn turned_away(
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

const ACCESS_DENIED: u64 = 49;
const NO_APPLICATION_PROTOCOL: u64 = 120;
