//! Cuts the bytes that a rank writes into whole lines.

/// The end of a line that has not come yet.
#[derive(Debug)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    /// A line that grows beyond this is passed on in pieces, so that a rank which writes no newline needs bounded memory.
    limit: usize,
}

impl Lines {
    /// Whole lines, as long as they are shorter than `limit` bytes; with a limit of 0 everything passes at once.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            limit,
        }
    }

    /// Adds `bytes` and gives each line that is now whole to `deliver`, with its newline.
    pub(crate) fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(&[u8])) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let is_whole = line.ends_with(b"\n");
            if is_whole && self.partial.is_empty() {
                deliver(line);
                continue;
            }
            self.partial.extend_from_slice(line);
            if is_whole || self.partial.len() >= self.limit {
                deliver(&self.partial);
                self.partial.clear();
                // A long line is seldom followed by another.
                self.partial.shrink_to(KEPT);
            }
        }
    }

    /// Gives what is left after the last newline, if anything, to `deliver`.
    pub(crate) fn finish(self, deliver: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            deliver(&self.partial);
        }
    }
}

/// Memory that a rank's next line finds.
const KEPT: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn cut(chunks: &[Vec<u8>], limit: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(limit);
        let mut pieces = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |piece| pieces.push(piece.to_vec()));
        }
        lines.finish(|piece| pieces.push(piece.to_vec()));
        pieces
    }

    /// Bytes in which every fourth or so is a newline.
    fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![1 => Just(b'\n'), 3 => any::<u8>()];
        vec(vec(byte, 0..40), 0..20)
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(chunks in chunks()) {
            let whole = chunks.concat();
            let expected: Vec<_> = whole.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(cut(&chunks, usize::MAX), expected);
        }

        #[test]
        fn a_limit_loses_nothing_and_bounds_what_is_kept(chunks in chunks(), limit in 0_usize..30) {
            let mut lines = Lines::new(limit);
            let mut passed = Vec::new();
            for chunk in &chunks {
                lines.push(chunk, |piece| passed.extend_from_slice(piece));
                prop_assert!(lines.partial.len() < limit.max(1));
            }
            lines.finish(|piece| passed.extend_from_slice(piece));
            prop_assert_eq!(passed, chunks.concat());
        }
    }
}
