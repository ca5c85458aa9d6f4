//! Losses, farewells and aborts: what they end, and who is told.

use super::{Agent, AgentEvent, Stage, Who};
use crate::exchange::message::Message;
use crate::exchange::{Abort, Loss, ProcessEnd, RankSet, Scope};

impl Agent {
    /// Takes note that the connection to `peer` has ended.
    ///
    /// A child that has not left is lost, and with it all ranks below it. Without its parent an agent aborts what is below.
    pub fn handle_closed(&mut self, peer: Who, cause: &str) {
        if self.parent == Some(peer) {
            self.outgoing.retain(|(to, _)| *to != peer);
            self.give_up_parent(peer, cause);
        } else {
            self.lose(peer, cause, None);
        }
    }

    /// Takes note that the process of `rank`, a child, has ended. One that has not left is lost.
    pub fn handle_death(&mut self, rank: u32, end: ProcessEnd) {
        self.lose(Who::Rank(rank), &end.to_string(), Some(end));
    }

    fn lose(&mut self, child: Who, cause: &str, end: Option<ProcessEnd>) {
        self.outgoing.retain(|(to, _)| *to != child);
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        if matches!(entry.stage, Stage::Silent | Stage::Present) {
            entry.stage = Stage::Lost;
            let loss = Loss::new(child, entry.ranks.clone(), cause);
            self.report_loss(&Loss { end, ..loss });
            self.leave_if_finished();
        }
    }

    /// Aborts what is below, for nothing can be learned of the rest any more.
    pub(super) fn give_up_parent(&mut self, parent: Who, cause: &str) {
        if !self.has_left {
            let text = format!("its connection to {parent} ended: {cause}");
            self.parent = None;
            self.spread_abort(Abort::new(self.name, NO_ROOT, &text), None);
        }
    }

    /// Tells the root of a loss, which tells all.
    pub(super) fn report_loss(&mut self, loss: &Loss) {
        let ranks = loss.ranks.without(&self.lost);
        for ranks in ranks.portions() {
            let loss = Loss {
                ranks,
                ..loss.clone()
            };
            if self.parent.is_some() {
                self.tell_parent(&Message::Lost(loss));
            } else {
                self.spread_loss(loss);
            }
        }
    }

    pub(super) fn spread_loss(&mut self, loss: Loss) {
        self.lost = self.lost.union(&loss.ranks);
        self.cards.retain(|rank, _| !loss.ranks.contains(*rank));
        self.fresh.retain(|(rank, _)| !loss.ranks.contains(*rank));
        self.waiting.retain(|rank, _| !loss.ranks.contains(*rank));
        self.broadcast(&Message::Lost(loss.clone()), |_| true);
        self.losses.push(loss.clone());
        self.events.push_back(AgentEvent::Lost(loss));
    }

    /// A fence that somebody waits at and that a child has left for good will never be passed: the child counts as lost.
    pub(super) fn check_left(&mut self) {
        for scope in Scope::ALL {
            let gate = &self.gates[scope.index()];
            if gate.arrived == 0 || gate.is_complete() {
                continue;
            }
            let round = gate.round();
            let gone: Vec<_> = self
                .children
                .iter_mut()
                .filter(|(who, child)| {
                    let counts = scope == Scope::Job || matches!(who, Who::Rank(_));
                    counts && child.stage == Stage::Left && child.rounds[scope.index()] != round
                })
                .map(|(who, child)| {
                    child.stage = Stage::Lost;
                    (*who, child.ranks.clone())
                })
                .collect();
            for (who, ranks) in gone {
                self.report_loss(&Loss::new(who, ranks, LEFT_BEFORE_A_FENCE));
            }
        }
    }

    /// Whether the fence can never be passed again.
    pub(super) fn is_broken(&self, scope: Scope) -> bool {
        match scope {
            Scope::Host => self.lost.overlaps(&self.host),
            Scope::Job => !self.lost.is_empty(),
        }
    }

    pub(super) fn spread_abort(&mut self, abort: Abort, from: Option<Who>) {
        if self.abort.is_some() {
            return;
        }
        let message = Message::Abort(abort.clone());
        if self.parent.is_some() && from != self.parent {
            self.tell_parent(&message);
        }
        self.broadcast(&message, |who| from != Some(who));
        self.abort = Some(abort.clone());
        self.events.push_back(AgentEvent::Aborted(abort));
    }

    /// Some ranks have left in good order. The root tells all, and gathers what comes together.
    pub(super) fn note_left(&mut self, ranks: &RankSet) {
        self.newly_left = self.newly_left.union(ranks);
    }

    /// Passes on who has left since the last time.
    pub(super) fn send_newly_left(&mut self) {
        let ranks = std::mem::take(&mut self.newly_left);
        for ranks in ranks.portions() {
            if self.parent.is_some() {
                self.tell_parent(&Message::Left(ranks));
            } else {
                self.spread_left(ranks);
            }
        }
    }

    /// Tells those below who has left.
    pub(super) fn spread_left(&mut self, ranks: RankSet) {
        self.left = self.left.union(&ranks);
        self.broadcast(&Message::Left(ranks), |_| true);
    }

    pub(super) fn leave_if_finished(&mut self) {
        if self.is_finished() && !self.has_left {
            self.has_left = true;
            self.send_fresh_cards();
            self.send_newly_left();
            self.tell_parent(&Message::Leave);
            self.events.push_back(AgentEvent::Finished);
        }
    }
}

/// The exit code of a job that lost the root of its tree.
const NO_ROOT: i32 = 1;

const LEFT_BEFORE_A_FENCE: &str = "it left the wire-up before a fence at which others wait";
