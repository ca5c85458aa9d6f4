//! Models of the shared protocols for loom: every interleaving and every stale value that the orderings of [`crate::orders`] allow.
//!
//! The code under test is the code that runs; only its sizes are smaller (two slots, two returns). `ci/loom` runs these models as
//! they are and once more with each ordering weakened, which some model must notice.

mod biased;
mod lease;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;
use std::time::Duration;

use crate::bell;
use crate::layout::{
    BELL_WORDS, Bell, Control, Line, RETURNS, ReturnPage, RingPage, SLOTS, Slot, Status,
};
use crate::primitive::Barrier;
use crate::returns::{ReturnReceiver, ReturnSender};
use crate::ring::{Consumer, Producer, Words};

fn ring_page() -> Arc<RingPage> {
    Arc::new(RingPage {
        consumed: Line(AtomicU64::new(0)),
        watched: Line(AtomicU32::new(0)),
        slots: std::array::from_fn::<_, SLOTS, _>(|_| Slot {
            word: AtomicU64::new(0),
            body: UnsafeCell::new([0; 7]),
        }),
    })
}

fn return_page() -> Arc<ReturnPage> {
    Arc::new(ReturnPage {
        entries: std::array::from_fn::<_, RETURNS, _>(|_| AtomicU32::new(0)),
    })
}

fn control_page() -> Arc<Control> {
    Arc::new(Control {
        bell: Bell::default(),
        status: Line(Status::default()),
        probe: Line(AtomicU64::new(0)),
        wants_room: Line(AtomicU32::new(0)),
        _reserved: std::array::from_fn(|_| Line(AtomicU64::new(0))),
        rung: std::array::from_fn::<_, BELL_WORDS, _>(|_| AtomicU64::new(0)),
    })
}

/// A frame whose every word tells which one it is.
fn frame(number: u64) -> Words {
    std::array::from_fn(|word| (number << 8 | word as u64) << 16)
}

fn push(ring: &mut Producer<Arc<RingPage>>, number: u64) {
    while !ring.try_push(&frame(number)).expect("an intact ring") {
        thread::yield_now();
    }
}

fn pop(ring: &mut Consumer<Arc<RingPage>>) -> Words {
    loop {
        if let Some(words) = ring.try_pop().expect("an intact ring") {
            return words;
        }
        thread::yield_now();
    }
}

/// Twice around: wants PUBLISH, OBSERVE for what a slot holds and CONSUME, CREDIT for writing it again.
#[test]
fn a_ring_carries_every_frame_whole_and_in_order() {
    const FRAMES: u64 = 4;
    loom::model(|| {
        let page = ring_page();
        let mut ring = Consumer::new(Arc::clone(&page));
        let sender = thread::spawn(move || {
            let mut ring = Producer::new(page);
            (0..FRAMES).for_each(|number| push(&mut ring, number));
        });
        for number in 0..FRAMES {
            assert_eq!(pop(&mut ring), frame(number));
        }
        assert_eq!(ring.try_pop(), Ok(None));
        sender.join().expect("the sender ends well");
    });
}

/// An owner's blocks: written by the owner while nobody holds them, read by borrowers.
type Blocks = Arc<[UnsafeCell<u64>; 2]>;

fn write(blocks: &Blocks, block: u32, content: u64) {
    blocks[block as usize].with_mut(|place| {
        // SAFETY: the block is not lent, which is what the model checks: loom knows who else touches the cell.
        unsafe { place.write(content) }
    });
}

fn read(blocks: &Blocks, block: u32) -> u64 {
    // SAFETY: the block is lent to the reader, which is what the model checks: loom knows who else touches the cell.
    blocks[block as usize].with(|place| unsafe { place.read() })
}

/// The descriptor orders the owner's writing before the reading, the return list the reading before the next writing.
#[test]
fn a_block_is_written_again_only_after_its_reader_returned_it() {
    const LOANS: u64 = 3;
    loom::model(|| {
        let (page, returns) = (ring_page(), return_page());
        let blocks: Blocks = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
        let borrower = {
            let (page, returns, blocks) = (page.clone(), returns.clone(), blocks.clone());
            thread::spawn(move || {
                let mut ring = Consumer::new(page);
                let returns = ReturnSender::new(returns);
                for number in 0..LOANS {
                    assert_eq!(pop(&mut ring), frame(number));
                    assert_eq!(read(&blocks, 0), number);
                    returns.give_back(0);
                }
            })
        };
        let mut ring = Producer::new(page);
        let mut returned = ReturnReceiver::new(returns);
        for number in 0..LOANS {
            write(&blocks, 0, number);
            push(&mut ring, number);
            while returned.try_take().is_none() {
                thread::yield_now();
            }
        }
        assert_eq!(returned.try_take(), None);
        borrower.join().expect("the borrower ends well");
    });
}

/// Any thread of a borrower returns at any time; each block comes back once, and is the owner's again.
#[test]
fn two_threads_of_a_borrower_return_at_once() {
    loom::model(|| {
        let returns = return_page();
        let blocks: Blocks = Arc::new(std::array::from_fn(|_| UnsafeCell::new(7)));
        let sender = Arc::new(ReturnSender::new(returns.clone()));
        let threads = [0, 1].map(|block| {
            let (sender, blocks) = (sender.clone(), blocks.clone());
            thread::spawn(move || {
                assert_eq!(read(&blocks, block), 7);
                sender.give_back(block);
            })
        });
        let mut returned = ReturnReceiver::new(returns);
        let mut back = Vec::new();
        let mut collect = || {
            while let Some(block) = returned.try_take() {
                write(&blocks, block, 8);
                back.push(block);
            }
        };
        collect();
        for thread in threads {
            thread.join().expect("each thread ends well");
        }
        collect();
        back.sort_unstable();
        assert_eq!(back, [0, 1]);
    });
}

/// Wants RING: a bell that is found means a frame that can be read, and no bell is cleared unseen.
#[test]
fn each_of_two_bells_is_found_and_stands_for_a_frame() {
    loom::model(|| {
        let control = control_page();
        let pages = [ring_page(), ring_page()];
        let mut rings = [0, 1].map(|sender: usize| Consumer::new(pages[sender].clone()));
        let senders = [0, 1].map(|sender: usize| {
            let (control, page) = (control.clone(), pages[sender].clone());
            thread::spawn(move || {
                push(&mut Producer::new(page), 0);
                control.ring(sender);
            })
        });
        let mut found = [false; 2];
        let mut look = || {
            if control.has_rung() {
                control.take_rings(2, |sender| {
                    let frame = rings[sender].try_pop().expect("an intact ring");
                    assert!(frame.is_some(), "a bell without a frame");
                    found[sender] = true;
                });
            }
        };
        look();
        for sender in senders {
            sender.join().expect("each sender ends well");
        }
        look();
        assert_eq!(found, [true; 2], "a bell was cleared unseen");
    });
}

/// A sender of `frames` frames that rings when it must, and a receiver that polls nothing but what it watches or what rang, and sleeps
/// whenever it may. Loom reports a receiver that sleeps for ever as a deadlock.
fn sleep_between_frames(barrier: Barrier, frames: u64) {
    let (control, page) = (control_page(), ring_page());
    let mut ring = Consumer::new(page.clone());
    bell::watch(&ring, true);
    let sender = {
        let control = control.clone();
        thread::spawn(move || {
            let mut ring = Producer::new(page);
            for number in 0..frames {
                push(&mut ring, number);
                if bell::must_ring(ring.page(), barrier) {
                    control.ring(0);
                }
            }
        })
    };
    let mut watched = true;
    let mut received = 0;
    while received < frames {
        if watched && let Some(words) = ring.try_pop().expect("an intact ring") {
            assert_eq!(words, frame(received));
            received += 1;
        } else if control.has_rung() {
            control.take_rings(1, |_| bell::watch(&ring, true));
            watched = true;
        } else if bell::stop_watching(std::iter::once(&ring).filter(|_| watched), barrier) {
            watched = false;
            go_to_sleep(&control);
        } else {
            thread::yield_now();
        }
    }
    sender.join().expect("the sender ends well");
}

fn go_to_sleep(control: &Control) {
    if control.announce_sleep() {
        control.sleep(Duration::MAX);
    } else {
        // Loom lets a load return what is old for as long as its thread does not yield.
        thread::yield_now();
    }
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| sleep_between_frames(Barrier::Symmetric, 2));
}

/// Why there is a barrier at all. `membarrier` is beyond loom, so an asymmetric barrier is none here.
#[test]
#[should_panic(expected = "deadlock")]
fn without_a_barrier_a_wake_up_is_lost() {
    loom::model(|| sleep_between_frames(Barrier::Asymmetric, 1));
}

/// A sender of one frame more than the ring has slots, which sleeps for want of room, and a receiver that takes them and goes.
fn sleep_for_want_of_room(barrier: Barrier) {
    let (control, page) = (control_page(), ring_page());
    let receiver = {
        let (control, page) = (control.clone(), page.clone());
        thread::spawn(move || {
            let mut ring = Consumer::new(page);
            let mut received = 0;
            // The last frame is nobody's business here.
            while received < SLOTS as u64 {
                if let Some(words) = ring.try_pop().expect("an intact ring") {
                    assert_eq!(words, frame(received));
                    received += 1;
                    if ring.has_just_told() {
                        control.offer_room(0, barrier);
                    }
                } else {
                    thread::yield_now();
                }
            }
        })
    };
    let mut ring = Producer::new(page);
    for number in 0..=SLOTS as u64 {
        while !ring.try_push(&frame(number)).expect("an intact ring") {
            control.want_room();
            let watched = std::iter::empty::<&Consumer<Arc<RingPage>>>();
            assert!(bell::stop_watching(watched, barrier));
            let announced = control.announce_sleep();
            if announced && !ring.has_room().expect("an intact ring") {
                control.sleep(Duration::MAX);
            } else {
                control.take_rings(1, |_| ());
                thread::yield_now();
            }
        }
    }
    receiver.join().expect("the receiver ends well");
}

#[test]
fn no_room_is_made_unheard() {
    loom::model(|| sleep_for_want_of_room(Barrier::Symmetric));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_barrier_room_is_made_unheard() {
    loom::model(|| sleep_for_want_of_room(Barrier::Asymmetric));
}

/// Both change the gate, and one of them comes second.
#[test]
fn a_sleeper_hears_each_of_two_senders() {
    loom::model(|| {
        let control = control_page();
        let senders = [0, 1].map(|sender| {
            let control = control.clone();
            thread::spawn(move || control.ring(sender))
        });
        let mut heard = 0;
        while heard < 2 {
            if control.has_rung() {
                control.take_rings(2, |_| heard += 1);
            } else {
                go_to_sleep(&control);
            }
        }
        for sender in senders {
            sender.join().expect("each sender ends well");
        }
    });
}
