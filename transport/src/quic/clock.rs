//! Time as connections see it: it stands still while this process does.
//!
//! A process that was stopped, or whose machine was, would wake up to find all its peers silent for longer than it tolerates, before
//! it has read what they sent meanwhile. Silence is only evidence for who listens. The link is driven at least every
//! [`LONGEST_REST`]; a gap far longer than that was no silence of the peers, and is left out.

use std::time::{Duration, Instant};

/// The longest that anybody who drives the link rests between two passes.
pub(super) const LONGEST_REST: Duration = Duration::from_millis(250);

/// A gap that no scheduler makes.
const STOPPED: Duration = Duration::from_secs(1);

/// Reads the time.
#[derive(Debug)]
pub(super) struct Clock {
    /// When it was last read.
    last: Instant,
    /// Time that was left out.
    lost: Duration,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            lost: Duration::ZERO,
        }
    }

    /// The time for connections, at `now`.
    #[inline]
    pub(super) fn read(&mut self, now: Instant) -> Instant {
        let gap = now.saturating_duration_since(self.last);
        if gap > STOPPED {
            self.lost += gap;
        }
        self.last = self.last.max(now);
        self.last()
    }

    /// The time that was read last.
    pub(super) fn last(&self) -> Instant {
        self.last.checked_sub(self.lost).unwrap_or(self.last)
    }

    /// The time at which it is `deadline` for connections, if nothing is left out before.
    pub(super) fn real(&self, deadline: Instant) -> Instant {
        deadline + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_while_somebody_looks_and_stands_still_while_nobody_can() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let after = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(clock.read(after(250)), after(250));
        assert_eq!(clock.read(after(1250)), after(1250), "a slow pass counts");
        assert_eq!(
            clock.read(after(61_250)),
            after(1250),
            "a minute's stop does not"
        );
        assert_eq!(clock.read(after(61_260)), after(1260));
        assert_eq!(clock.real(after(1300)), after(61_300));
    }

    #[test]
    fn time_never_goes_back() {
        let start = Instant::now() + Duration::from_secs(5);
        let mut clock = Clock::new(start);
        let later = clock.read(start + Duration::from_millis(9));
        assert_eq!(clock.read(start), later);
    }
}
