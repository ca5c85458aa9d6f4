//! A set of ranks as ranges, since the ranks of a host are mostly neighbours.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of ranks.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::RankSet;
///
/// let ranks: RankSet = [7, 0, 1, 2].into_iter().collect();
/// assert!(ranks.contains(1) && !ranks.contains(3));
/// assert_eq!(ranks.to_string(), "ranks 0-2 and 7");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u32, u32)>", into = "Vec<(u32, u32)>")]
pub struct RankSet {
    /// First and last of each range, in order, with a gap before the next.
    ranges: Vec<(u32, u32)>,
}

impl RankSet {
    /// Whether `rank` is in the set.
    #[must_use]
    pub fn contains(&self, rank: u32) -> bool {
        let after = self.ranges.partition_point(|&(_, last)| last < rank);
        self.ranges
            .get(after)
            .is_some_and(|&(first, _)| first <= rank)
    }

    /// The number of ranks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges
            .iter()
            .map(|&(first, last)| (last - first) as usize + 1)
            .sum()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranks, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Whether all ranks of `other` are in this set.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.ranges.iter().all(|&(first, last)| {
            let after = self.ranges.partition_point(|&(_, end)| end < first);
            self.ranges
                .get(after)
                .is_some_and(|&(start, end)| start <= first && last <= end)
        })
    }

    /// Whether some rank is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        other.ranges.iter().any(|&(first, last)| {
            let after = self.ranges.partition_point(|&(_, end)| end < first);
            self.ranges
                .get(after)
                .is_some_and(|&(start, _)| start <= last)
        })
    }

    /// The ranks that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|&rank| !other.contains(rank)).collect()
    }

    /// The ranks of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut ranges = [self.ranges.as_slice(), &other.ranges].concat();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// The last rank.
    pub(super) fn last(&self) -> Option<u32> {
        self.ranges.last().map(|&(_, last)| last)
    }

    /// The same ranks in sets that fit into a frame.
    pub(super) fn portions(&self) -> impl Iterator<Item = Self> {
        self.ranges.chunks(MAX_RANGES).map(|ranges| Self {
            ranges: ranges.to_vec(),
        })
    }

    /// Whether the set fits into a frame.
    pub(super) const fn is_portion(&self) -> bool {
        self.ranges.len() <= MAX_RANGES
    }
}

impl FromIterator<u32> for RankSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ranks: I) -> Self {
        let ranges = ranks.into_iter().map(|rank| (rank, rank)).collect();
        Self::default().union(&Self { ranges })
    }
}

impl From<Range<u32>> for RankSet {
    fn from(ranks: Range<u32>) -> Self {
        let ranges = (!ranks.is_empty()).then(|| (ranks.start, ranks.end - 1));
        Self {
            ranges: ranges.into_iter().collect(),
        }
    }
}

impl From<RankSet> for Vec<(u32, u32)> {
    fn from(ranks: RankSet) -> Self {
        ranks.ranges
    }
}

/// What a peer sent is a set only if it is in order, without overlaps, and of ranks that can be.
impl TryFrom<Vec<(u32, u32)>> for RankSet {
    type Error = &'static str;

    fn try_from(ranges: Vec<(u32, u32)>) -> Result<Self, Self::Error> {
        let are_ranges = ranges
            .iter()
            .all(|&(first, last)| first <= last && last < MAX_RANKS);
        let are_apart = ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
        if are_ranges && are_apart && ranges.len() <= MAX_RANGES {
            Ok(Self { ranges })
        } else {
            Err("no set of ranks")
        }
    }
}

/// `rank 3`, `ranks 0-2 and 7`, or the first few and how many more.
impl fmt::Display for RankSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.len() == 1 { "rank " } else { "ranks " })?;
        if self.is_empty() {
            return f.write_str("(none)");
        }
        let shown = &self.ranges[..self.ranges.len().min(MOST_SHOWN)];
        for (index, &(first, last)) in shown.iter().enumerate() {
            let is_end = index + 1 == self.ranges.len();
            match (index, is_end) {
                (0, _) => {}
                (_, true) => f.write_str(" and ")?,
                (_, false) => f.write_str(", ")?,
            }
            write!(f, "{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        let rest = Self {
            ranges: self.ranges[shown.len()..].to_vec(),
        };
        match rest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// More ranks than any job has; a number beyond it is damage.
pub const MAX_RANKS: u32 = 1 << 20;

/// Ranges in one frame: at most six bytes each, so that half a frame holds them.
const MAX_RANGES: usize = 4096;

/// An error is one line on a terminal.
const MOST_SHOWN: usize = 8;
