//! The pool against a list of what is held and lent, with borrowers that die, lie and never return anything.

use std::sync::Arc;

use proptest::prelude::*;

use super::{EXTENT, Pool, PoolError, PoolSettings, RETURNS, SMALLEST};
use crate::block::{BlockMut, Borrowed, Lending};
use crate::layout::ReturnPage;
use crate::returns::ReturnSender;
use crate::segment::{Mapped, Segment, Shape};

const RANKS: usize = 5;

fn segment(arena_bytes: u64) -> Arc<Segment> {
    let shape = Shape {
        ranks: RANKS,
        arena_bytes,
    };
    Arc::new(Segment::within_process(&shape).unwrap())
}

fn limited(limit: usize) -> PoolSettings {
    PoolSettings {
        limit: Some(limit),
        ..PoolSettings::default()
    }
}

/// A block with a stamp in the bytes that are looked at: all of a small one, the ends and one byte of each page of a large one.
fn stamp(block: &mut [u8], stamp: u8) {
    let len = block.len();
    block[..len.min(64)].fill(stamp);
    block[len - len.min(64)..].fill(stamp);
    block
        .iter_mut()
        .step_by(4096)
        .for_each(|byte| *byte = stamp);
}

fn is_stamped(block: &[u8], stamp: u8) -> bool {
    let len = block.len();
    let ends = block[..len.min(64)]
        .iter()
        .chain(&block[len - len.min(64)..]);
    ends.chain(block.iter().step_by(4096))
        .all(|&byte| byte == stamp)
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Drop(usize),
    /// Lends a held block to the borrowers whose bits are set.
    Lend(usize, u8),
    Return(usize),
    Kill(usize),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![8 => 1..5000_usize, 2 => 5000..600_000_usize, 1 => 600_000..(8 << 20) + 1_usize];
    prop_oneof![
        6 => len.prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Drop),
        5 => (any::<usize>(), 1..16_u8).prop_map(|(index, readers)| Step::Lend(index, readers)),
        5 => any::<usize>().prop_map(Step::Return),
        1 => (1..RANKS).prop_map(Step::Kill),
        1 => Just(Step::Collect),
    ]
}

struct Oracle {
    pool: Arc<Pool>,
    borrowers: Vec<Arc<Lending>>,
    held: Vec<(BlockMut, u8)>,
    loans: Vec<(usize, Borrowed, u8)>,
    lost: Vec<(usize, Borrowed, u8)>,
    dead: [bool; RANKS],
    stamps: u8,
}

impl Oracle {
    fn new() -> Self {
        let segment = segment(64 << 20);
        Self {
            pool: Pool::new(&segment, 0, PoolSettings::default()),
            borrowers: (0..RANKS)
                .map(|rank| Lending::new(&segment, rank))
                .collect(),
            held: Vec::new(),
            loans: Vec::new(),
            lost: Vec::new(),
            dead: [false; RANKS],
            stamps: 0,
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Take(len) if self.held.len() < 12 => self.take(len),
            Step::Drop(index) if !self.held.is_empty() => {
                drop(self.held.swap_remove(index % self.held.len()));
            }
            Step::Lend(index, readers) if !self.held.is_empty() && self.loans.len() < 40 => {
                self.lend(index % self.held.len(), readers);
            }
            Step::Return(index) if !self.loans.is_empty() => {
                let (_, block, stamp) = self.loans.swap_remove(index % self.loans.len());
                assert!(is_stamped(&block, stamp), "a lent block changed");
            }
            Step::Kill(rank) => {
                self.dead[rank] = true;
                let (lost, kept) = std::mem::take(&mut self.loans)
                    .into_iter()
                    .partition(|loan| loan.0 == rank);
                self.loans = kept;
                let lost: Vec<_> = lost;
                assert!(
                    self.pool.reclaim(rank) >= lost.len(),
                    "reclaimed less than was lent"
                );
                // The dead return nothing; dropped with the oracle, when nobody looks any more.
                self.lost.extend(lost);
            }
            Step::Collect => self.pool.collect().unwrap(),
            _ => {}
        }
    }

    fn take(&mut self, len: usize) {
        let mut block = match self.pool.take(len) {
            Ok(block) => block,
            Err(PoolError::Arena { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(block.len(), len);
        let new = block.as_ptr_range();
        let others = self.held.iter().map(|(block, _)| block.as_ptr_range());
        let lent = self.loans.iter().map(|(_, block, _)| block.as_ptr_range());
        for other in others.chain(lent) {
            assert!(
                new.end <= other.start || other.end <= new.start,
                "a block has two owners"
            );
        }
        self.stamps = self.stamps.wrapping_add(1);
        stamp(&mut block, self.stamps);
        self.held.push((block, self.stamps));
    }

    fn lend(&mut self, index: usize, readers: u8) {
        let alive = |&rank: &usize| readers >> (rank - 1) & 1 == 1 && !self.dead[rank];
        let readers: Vec<usize> = (1..RANKS).filter(alive).collect();
        if readers.is_empty() {
            return;
        }
        let (block, stamp) = self.held.swap_remove(index);
        assert!(is_stamped(&block, stamp), "a held block changed");
        let descriptor = block.descriptor();
        self.pool.lend(descriptor.block, &readers).unwrap();
        block.into_lent();
        for rank in readers {
            let borrowed = self.borrowers[rank].borrow(0, descriptor).unwrap();
            self.loans.push((rank, borrowed, stamp));
        }
    }

    fn check_books(&self) {
        self.pool.collect().unwrap();
        for rank in 1..RANKS {
            let lent = self.loans.iter().filter(|loan| loan.0 == rank).count();
            assert_eq!(self.pool.lent(rank), lent, "lent to rank {rank}");
        }
    }
}

proptest! {
    #[test]
    fn every_block_has_one_owner_and_keeps_its_content(steps in prop::collection::vec(step(), 1..150)) {
        let mut oracle = Oracle::new();
        for step in steps {
            oracle.apply(step);
        }
        oracle.check_books();
        for (_, block, stamp) in oracle.loans.drain(..) {
            prop_assert!(is_stamped(&block, stamp));
        }
        oracle.check_books();
    }

    /// A borrower may name any block in any order: an error that names it, and no block of another gets free.
    #[test]
    fn false_returns_are_refused(numbers in prop::collection::vec(prop_oneof![0..40_u32, any::<u32>()], 1..200)) {
        let segment = segment(8 << 20);
        let pool = Pool::new(&segment, 0, PoolSettings::default());
        let honest = Lending::new(&segment, 1);
        let mut block = pool.take(100).unwrap();
        stamp(&mut block, 7);
        let descriptor = block.descriptor();
        pool.lend(descriptor.block, &[1]).unwrap();
        block.into_lent();
        let mine = pool.take(100).unwrap();
        pool.lend(pool.hold(100).unwrap().block, &[2]).unwrap();
        let page: Mapped<ReturnPage> = Mapped::returns(&segment, 0, 2).unwrap();
        let liar = ReturnSender::new(page);
        for &number in &numbers {
            liar.give_back(number);
            match pool.collect() {
                Ok(()) | Err(PoolError::Corrupted { borrower: 2, .. }) => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        let loan = honest.borrow(0, descriptor).unwrap();
        prop_assert!(is_stamped(&loan, 7));
        for _ in 0..20 {
            let other = pool.take(100).unwrap().descriptor();
            prop_assert!(other.block != descriptor.block && other.block != mine.descriptor().block);
        }
    }
}

#[test]
fn memory_stays_bounded_while_blocks_come_and_go() {
    let segment = segment(64 << 20);
    let pool = Pool::new(&segment, 0, PoolSettings::default());
    let borrower = Lending::new(&segment, 1);
    for _ in 0..5000 {
        for len in [1, 300, 5000, 100_000] {
            let block = pool.take(len).unwrap();
            let descriptor = block.descriptor();
            pool.lend(descriptor.block, &[1]).unwrap();
            block.into_lent();
            drop(borrower.borrow(0, descriptor).unwrap());
        }
    }
    assert!(
        pool.taken() < 4 << 20,
        "{} bytes for four blocks at a time",
        pool.taken()
    );
}

#[test]
fn a_pool_at_its_limit_says_so_however_often_it_is_asked() {
    let segment = segment(2 << 20);
    let pool = Pool::new(&segment, 0, limited(EXTENT));
    let mut blocks: Vec<_> = (0..EXTENT / SMALLEST)
        .map(|_| pool.take(1).unwrap())
        .collect();
    for len in [1, 5000, 600_000].into_iter().cycle().take(1000) {
        let error = pool.take(len).unwrap_err();
        assert!(
            matches!(error, PoolError::Limit { taken: EXTENT, .. }),
            "{error}"
        );
        assert!(matches!(
            pool.stage_chunk(1, &[1]),
            Err(PoolError::Limit { taken: EXTENT, .. })
        ));
    }
    assert!(
        pool.take(1)
            .unwrap_err()
            .to_string()
            .contains("PHALANX_POOL_LIMIT")
    );
    blocks.pop();
    pool.take(1).unwrap();
}

#[test]
fn no_length_is_too_large_for_an_error() {
    let segment = segment(4 << 20);
    let pool = Pool::new(&segment, 0, PoolSettings::default());
    for len in [(4 << 20) + 1, 1 << 40, usize::MAX / 2 + 2, usize::MAX] {
        assert!(
            matches!(pool.take(len), Err(PoolError::Arena { .. })),
            "{len}"
        );
    }
    pool.take(1 << 20).unwrap();
}

#[test]
fn a_borrower_holds_no_more_than_its_returns_can_carry() {
    let segment = segment(8 << 20);
    let pool = Pool::new(&segment, 0, PoolSettings::default());
    let borrower = Lending::new(&segment, 1);
    let mut loans = Vec::new();
    for _ in 0..RETURNS {
        let block = pool.take(1).unwrap();
        pool.lend(block.descriptor().block, &[1]).unwrap();
        loans.push(borrower.borrow(0, block.descriptor()).unwrap());
        block.into_lent();
    }
    let block = pool.take(1).unwrap();
    let refused = pool.lend(block.descriptor().block, &[2, 1]);
    assert!(matches!(refused, Err(PoolError::Lent { borrower: 1 })));
    assert_eq!(pool.lent(2), 0);
    loans.pop();
    pool.lend(block.descriptor().block, &[2, 1]).unwrap();
    block.into_lent();
}

/// What a borrower returned just before it died was still unread when its blocks were taken back.
#[test]
fn returns_of_the_dead_do_not_come_back_later() {
    let segment = segment(8 << 20);
    let pool = Pool::new(&segment, 0, PoolSettings::default());
    let borrower = Lending::new(&segment, 1);
    for _ in 0..3 {
        let block = pool.take(1).unwrap();
        pool.lend(block.descriptor().block, &[1]).unwrap();
        drop(borrower.borrow(0, block.descriptor()).unwrap());
        block.into_lent();
    }
    assert_eq!(pool.reclaim(1), 3);
    let blocks = [(); 3].map(|()| pool.take(1).unwrap());
    // Lent by someone who has not heard of the death yet.
    let late = pool.take(1).unwrap();
    pool.lend(late.descriptor().block, &[1]).unwrap();
    late.into_lent();
    pool.collect().unwrap();
    assert_eq!((pool.lent(1), pool.reclaim(1)), (1, 1));
    drop(blocks);
}

/// It would come back once from a reader that is counted twice.
#[test]
fn a_reader_named_twice_is_refused_and_the_block_stays() {
    let segment = segment(8 << 20);
    let pool = Pool::new(&segment, 0, PoolSettings::default());
    let block = pool.take(1).unwrap();
    let number = block.descriptor().block;
    for readers in [&[1, 1][..], &[1, 2, 3, 1], &[2, 1, 1]] {
        let error = pool.lend(number, readers).unwrap_err();
        assert!(
            matches!(error, PoolError::NamedTwice { borrower: 1 }),
            "{error}"
        );
    }
    assert_eq!([1, 2, 3].map(|rank| pool.lent(rank)), [0; 3]);
    drop(block);
    assert_eq!(pool.take(1).unwrap().descriptor().block, number);
}
