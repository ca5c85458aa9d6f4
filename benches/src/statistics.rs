//! What many samples come to.

/// Middle, near-worst and best of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// That below or at which 99 of 100 are.
    pub p99: f64,
    /// The smallest.
    pub min: f64,
}

impl Summary {
    /// The summary of `samples` in any order; none of none.
    ///
    /// # Examples
    /// ```
    /// use phalanx_bench::Summary;
    ///
    /// let summary = Summary::of(&[3.0, 1.0, 2.0]).expect("there are samples");
    /// assert_eq!((summary.min, summary.median, summary.p99), (1.0, 2.0, 3.0));
    /// ```
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, middle) = (sorted.first()?, sorted.len() / 2);
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self {
            median,
            p99: percentile(&sorted, 99),
            min,
        })
    }
}

/// The smallest of `sorted`, which is not empty, that at least `percent` of 100 are not above (nearest rank).
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let median = |samples: &[f64]| Summary::of(samples).unwrap().median;
        assert_eq!(median(&[5.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0]), 5.0);
        assert_eq!(median(&[100.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 100.0, 1.0, 2.0]), 3.0);
    }

    #[test]
    fn the_99th_percentile_leaves_out_one_of_a_hundred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(Summary::of(&hundred).unwrap().p99, 99.0);
        let few = [1.0, 2.0, 50.0];
        assert_eq!(Summary::of(&few).unwrap().p99, 50.0);
        assert_eq!(percentile(&hundred, 5), 5.0);
        assert_eq!(percentile(&[7.0], 1), 7.0);
    }

    #[test]
    fn of_nothing_there_is_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }
}
