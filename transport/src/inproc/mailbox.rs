//! What waits for one rank, and how its threads sleep until something does.
//!
//! One mailbox holds the packets of all senders, ordered by the poll at which they are due and then by arrival. A packet is never due
//! before its predecessor from the same sender, which is all that the order of a pair needs.
//!
//! Sleep follows the rule of every link: who announces it and is then told, or posted something, before it sleeps, does not sleep.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::inproc::InprocSettings;
use crate::link::Packet;

/// All that leads to one rank.
pub(super) struct Mailbox {
    owner: usize,
    settings: InprocSettings,
    mail: Mutex<Mail>,
    bell: Condvar,
}

#[derive(Default)]
struct Mail {
    /// By due poll and arrival.
    waiting: BTreeMap<(u64, u64), (usize, Packet)>,
    /// By sender, for those that ever sent: most pairs of a large job never talk.
    pairs: BTreeMap<usize, Pair>,
    arrivals: u64,
    polls: u64,
    sleeping: bool,
    /// The next sleep is for want of room.
    wants_room: bool,
    wakes: u64,
    /// The owner is gone: packets are lost but still fill the queues.
    abandoned: bool,
}

/// What is known of one sender.
#[derive(Default)]
struct Pair {
    sent: u64,
    waiting: usize,
    /// When its last packet is due.
    due: u64,
    /// Made to look full.
    filled: bool,
}

impl Mailbox {
    pub(super) fn new(owner: usize, settings: InprocSettings) -> Self {
        Self {
            owner,
            settings,
            mail: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// Whether a packet of `sender` would be taken now.
    pub(super) fn has_room(&self, sender: usize) -> bool {
        self.mail
            .lock()
            .pairs
            .get(&sender)
            .is_none_or(|pair| !pair.filled && pair.waiting < self.settings.capacity.max(1))
    }

    /// Takes a packet of `sender`, which has asked for room, and wakes the owner.
    pub(super) fn deliver(&self, sender: usize, packet: Packet) {
        let mut mail = self.mail.lock();
        let Mail {
            waiting,
            pairs,
            arrivals,
            polls,
            abandoned,
            ..
        } = &mut *mail;
        let pair = pairs.entry(sender).or_default();
        pair.due = pair.due.max(*polls + self.lateness(sender, pair.sent));
        pair.sent += 1;
        pair.waiting += 1;
        if *abandoned {
            return;
        }
        waiting.insert((pair.due, *arrivals), (sender, packet));
        *arrivals += 1;
        self.ring(&mut mail);
    }

    /// The next packet that is due, with its sender, and whether there was no room for another one.
    pub(super) fn poll(&self) -> Option<(usize, Packet, bool)> {
        let mut mail = self.mail.lock();
        mail.polls += 1;
        let polls = mail.polls;
        let entry = mail.waiting.first_entry()?;
        if entry.key().0 >= polls {
            return None;
        }
        let (sender, packet) = entry.remove();
        let was_full = mail.pairs.get_mut(&sender).is_some_and(|pair| {
            pair.waiting -= 1;
            pair.waiting + 1 == self.settings.capacity.max(1)
        });
        Some((sender, packet, was_full))
    }

    /// Shortens the next sleep: a full mailbox wakes its sender when it has room again, but a buffer that comes back does not.
    pub(super) fn want_room(&self) {
        self.mail.lock().wants_room = true;
    }

    /// Announces sleep; `false`, and no announcement, when something waits. That it is not due yet is no reason to sleep: only
    /// polling makes it due.
    pub(super) fn announce_sleep(&self) -> bool {
        let mut mail = self.mail.lock();
        if mail.waiting.is_empty() {
            mail.sleeping = true;
        }
        mail.waiting.is_empty()
    }

    /// Sleeps, after the announcement, until woken or until `timeout` has passed.
    pub(super) fn sleep(&self, timeout: Duration) {
        let mut mail = self.mail.lock();
        let timeout = if std::mem::take(&mut mail.wants_room) {
            timeout.min(LOOK_FOR_ROOM)
        } else {
            timeout
        };
        // A time that no clock can show never comes.
        let deadline = Instant::now().checked_add(timeout);
        let wakes = mail.wakes;
        while mail.sleeping && mail.wakes == wakes {
            match deadline {
                Some(deadline) => {
                    if self.bell.wait_until(&mut mail, deadline).timed_out() {
                        // The announcement stands: another thread may sleep by it.
                        return;
                    }
                }
                None => self.bell.wait(&mut mail),
            }
        }
    }

    /// Wakes the owner's threads, if any sleeps.
    pub(super) fn wake(&self) {
        self.ring(&mut self.mail.lock());
    }

    /// Makes everything from `sender` due at the next poll.
    pub(super) fn hasten(&self, sender: usize) {
        let mut mail = self.mail.lock();
        let due = mail.polls;
        let late: Vec<(u64, u64)> = mail
            .waiting
            .range((due + 1, 0)..)
            .filter_map(|(&key, &(from, _))| (from == sender).then_some(key))
            .collect();
        for (was, arrival) in late {
            let entry = mail.waiting.remove(&(was, arrival)).expect("just seen");
            mail.waiting.insert((due, arrival), entry);
        }
    }

    /// Loses all that waits and will come. The queues stay as full as they were: to its peers, a rank that is gone is one that does
    /// not read.
    pub(super) fn abandon(&self) {
        let mut mail = self.mail.lock();
        mail.abandoned = true;
        mail.waiting.clear();
    }

    /// Makes the queue of `sender` look full, or no longer.
    pub(super) fn set_filled(&self, sender: usize, filled: bool) {
        self.mail.lock().pairs.entry(sender).or_default().filled = filled;
    }

    fn ring(&self, mail: &mut Mail) {
        if mail.sleeping {
            mail.sleeping = false;
            mail.wakes += 1;
            self.bell.notify_all();
        }
    }

    /// For how many polls the `number`-th packet of `sender` stays invisible.
    fn lateness(&self, sender: usize, number: u64) -> u64 {
        let InprocSettings { delay, seed, .. } = self.settings;
        let drawn = [sender as u64, self.owner as u64, number]
            .into_iter()
            .fold(seed, |state, part| scramble(state ^ part));
        drawn % (u64::from(delay) + 1)
    }
}

/// Between two looks for buffers.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(1);

/// One step of splitmix64: every bit of the result depends on every bit of `state`.
fn scramble(state: u64) -> u64 {
    let mut bits = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
