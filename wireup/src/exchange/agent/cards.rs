//! Keeping cards, answering those who ask, and passing on what the parent has not got.

use std::sync::Arc;

use super::{Agent, Who};
use crate::exchange::message::{CARDS_OF_A_FRAME, Message};
use crate::exchange::{Card, Fault};

impl Agent {
    pub(super) fn get(&mut self, from: Who, rank: u32) -> Result<(), Fault> {
        if rank >= self.size {
            let what = "a request for the card of a rank that the job has not";
            return Err(Fault::Contradiction { what });
        }
        if let Some(card) = self.cards.get(&rank).cloned() {
            self.send(from, &Message::Answer { rank, card });
            return Ok(());
        }
        // Who asks for a lost rank has not read yet what was sent to it.
        if self.lost.contains(rank) {
            return Ok(());
        }
        let waiting = self.waiting.entry(rank).or_default();
        if waiting.contains(&from) {
            return Err(Message::Get { rank }.out_of_order());
        }
        waiting.push(from);
        if waiting.len() == 1 && !self.below.contains(rank) {
            self.tell_parent(&Message::Get { rank });
        }
        Ok(())
    }

    pub(super) fn keep_all(&mut self, cards: Vec<(u32, Arc<Card>)>) {
        for (rank, card) in cards {
            if self.lost.contains(rank) {
                continue;
            }
            if self.parent.is_some() {
                self.fresh.push((rank, Arc::clone(&card)));
            }
            self.keep(rank, card);
        }
    }

    /// Keeps a card and answers those who wait for it.
    pub(super) fn keep(&mut self, rank: u32, card: Arc<Card>) {
        self.cards.insert(rank, Arc::clone(&card));
        let waiting = self.waiting.remove(&rank).unwrap_or_default();
        let message = Message::Answer { rank, card };
        self.broadcast(&message, |who| waiting.contains(&who));
    }

    pub(super) fn send_fresh_cards(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for cards in fresh.chunks(CARDS_OF_A_FRAME) {
            self.tell_parent(&Message::Put(cards.to_vec()));
        }
    }
}
