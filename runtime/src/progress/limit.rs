//! Where a wait ends, and where a thread waits that another one wakes.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result, Timeout};

/// What a time-out says that was waited for.
pub(crate) type Described<'a> = &'a dyn Fn() -> String;

/// A limit of waiting.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) timeout: Option<Duration>,
    pub(crate) what: Described<'a>,
}

/// When a wait is over.
pub(super) struct Deadline {
    began: Option<Instant>,
    timeout: Option<Duration>,
}

impl Deadline {
    pub(super) fn new(limit: Limit<'_>) -> Self {
        Self {
            began: None,
            timeout: limit.timeout,
        }
    }

    /// Starts the clock at the first call: before that, next to no time has passed.
    pub(super) fn check(&mut self, rank: usize, limit: Limit<'_>) -> Result<()> {
        let Some(timeout) = self.timeout else {
            return Ok(());
        };
        let waited = self.began.get_or_insert_with(Instant::now).elapsed();
        if waited < timeout {
            Ok(())
        } else {
            Err(Error::Timeout(Box::new(Timeout {
                rank,
                what: (limit.what)(),
                waited,
            })))
        }
    }

    pub(super) fn left(&self) -> Duration {
        match (self.began, self.timeout) {
            (Some(began), Some(timeout)) => timeout.saturating_sub(began.elapsed()),
            _ => Duration::MAX,
        }
    }
}

/// Where the threads wait that do not sleep on the link's bell.
#[derive(Debug, Default)]
pub(super) struct Doze {
    alarms: Mutex<u64>,
    alarm: Condvar,
}

impl Doze {
    /// Alarms so far. Read inside, so that none that rings from now on is missed.
    pub(super) fn alarms(&self) -> u64 {
        *self.alarms.lock()
    }

    /// Waits, outside, until an alarm beyond the first `heard` rings or `timeout` has passed.
    pub(super) fn wait(&self, heard: u64, timeout: Duration) {
        let mut alarms = self.alarms.lock();
        if *alarms == heard {
            self.alarm.wait_for(&mut alarms, timeout);
        }
    }

    pub(super) fn ring(&self) {
        *self.alarms.lock() += 1;
        self.alarm.notify_all();
    }
}
