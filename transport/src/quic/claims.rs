//! Who is at the other end of a connection that somebody else dialled: what he claims, and what the card says.

use std::time::Instant;

use quinn_proto::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;

use super::connection::{Conn, Stage};
use super::driver::{Driver, PATIENCE};
use super::ending::REFUSED;
use super::error::Refusal;
use super::identity::Fingerprint;
use super::verify::Claim;

impl Driver {
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
        if from == self.rank || from >= self.peers.len() || self.is_reached(from) {
            return Err(format!(
                "somebody who claimed to be rank {from} was turned away: no such rank comes this way to rank {} of {}",
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
        let address = conn.remote();
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

    /// Remembers who was turned away; the oldest give way.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.inquiry.turned_away(&refusal);
        if self.news.refusals.len() == MOST_REFUSALS {
            self.news.refusals.pop_front();
        }
        self.news.refusals.push_back(refusal);
    }
}

/// Refusals that are remembered.
const MOST_REFUSALS: usize = 64;
