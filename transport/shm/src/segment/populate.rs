//! Making pages real, as far as there is memory: an error here, so that there is no signal later.

use std::ops::Range;
use std::sync::OnceLock;

use super::{Segment, SegmentError};
use crate::budget::{Budget, Shortage};
use crate::layout::PAGE;
use crate::primitive::{AtomicUsize, Ordering};
use crate::system;

/// Bytes that are asked for and made real at a time. What other ranks take between the two is bounded by as much for each.
const STEP: usize = 1 << 20;

/// The most ranks that are expected to be between the two at the same time; it needs a core to be there.
const MOST_AT_ONCE: usize = 16;

/// Single pages that one question covers: a rank of many peers maps many.
const PAGES: usize = 16 * PAGE;

/// What the control groups allow this process.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Found once: a process stays in its group.
    budget: OnceLock<Budget>,
    /// Bytes of single pages that have been asked for and not made yet.
    granted: AtomicUsize,
}

impl Segment {
    /// The pages in `range` of the segment, allocated if they were not.
    pub(crate) fn populate(&self, range: Range<usize>) -> Result<(), SegmentError> {
        let end = range.end.next_multiple_of(PAGE).min(self.plan.size());
        let mut start = range.start / PAGE * PAGE;
        while start < end && !range.is_empty() {
            let missing = end - start;
            self.allow(missing)?;
            let step = missing.min(STEP);
            system::populate(self.cells(start..start + step)).map_err(|source| {
                SegmentError::OutOfMemory {
                    bytes: missing,
                    source,
                }
            })?;
            start += step;
        }
        Ok(())
    }

    fn allow(&self, wanted: usize) -> Result<(), SegmentError> {
        let Allowance { budget, granted } = &self.allowance;
        let budget = budget.get_or_init(Budget::of_this_process);
        let answer = if wanted > PAGE {
            let reserve = STEP * self.plan.ranks.min(MOST_AT_ONCE);
            budget.allow(wanted as u64, reserve as u64)
        } else {
            // Relaxed: a count of bytes, beside which nothing is shared.
            let take = |granted: usize| granted.checked_sub(wanted);
            let used = granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
            if used.is_ok() {
                return Ok(());
            }
            // The reserve is for these: without a ring nothing can be told to anybody.
            budget
                .allow(PAGES as u64, 0)
                .map(|()| granted.store(PAGES - wanted, Ordering::Relaxed))
                .or_else(|_| budget.allow(wanted as u64, 0))
        };
        answer.map_err(|Shortage { file, limit, used }| SegmentError::MemoryLimit {
            file: file.display().to_string(),
            limit,
            used,
            wanted,
        })
    }
}
