//! Blocks that their borrowers can never return.

use super::{Pool, RETURNS};

impl Pool {
    /// Takes back all that `borrower`, which is dead, still held. Returns how many blocks that were.
    pub fn reclaim(&self, borrower: usize) -> usize {
        let mut state = self.state.enter();
        let dead = u32::try_from(borrower).expect("a rank fits into 32 bits");
        let held: Vec<u32> = (0..)
            .zip(&state.blocks)
            .filter(|(_, block)| block.readers.contains(dead))
            .map(|(number, _)| number)
            .collect();
        for &number in &held {
            state.take_back(number, dead);
        }
        if let Some(entry) = &mut state.borrowers[borrower] {
            entry.lent = 0;
            // What it returned before it died is ours already; read later, it would look like a return of what it does not hold.
            (0..RETURNS).find(|_| entry.returns.try_take().is_none());
        }
        state.lent_to.retain(|&rank| rank != borrower);
        held.len()
    }

    /// Takes back those of `blocks` that are lent to `borrower`, which left without having heard of them. Returns how many that were.
    pub(crate) fn take_back(&self, borrower: usize, blocks: impl Iterator<Item = u32>) -> usize {
        let mut state = self.state.enter();
        let gone = u32::try_from(borrower).expect("a rank fits into 32 bits");
        let mut taken = 0;
        for number in blocks {
            let lent = state.blocks.get(number as usize);
            if lent.is_some_and(|block| block.readers.contains(gone)) {
                state.take_back(number, gone);
                taken += 1;
            }
        }
        if let Some(entry) = &mut state.borrowers[borrower] {
            entry.lent -= taken;
            if entry.lent == 0 {
                state.lent_to.retain(|&rank| rank != borrower);
            }
        }
        taken
    }
}
