//! A borrow that is revoked while other threads use it: no use begins after the revocation, and none is under way when it returns.
//!
//! Loom does not watch plain bytes, so beside the lent ones lies a cell of loom, touched whenever they are.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::lease::lease;

/// Stands for the lent bytes.
struct Watched(UnsafeCell<u64>);

// SAFETY: every access goes through loom's cell, which reports those that meet.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn read(&self) -> u64 {
        // SAFETY: the lease or the end of all leases lets us, which is what the model checks.
        self.0.with(|place| unsafe { place.read() })
    }

    fn write(&self, content: u64) {
        // SAFETY: as above.
        self.0.with_mut(|place| unsafe { place.write(content) });
    }
}

#[test]
fn a_writer_is_out_when_the_scope_ends() {
    loom::model(|| {
        let watched = Watched::new();
        let mut bytes = [0_u8];
        let user = lease(|lessor| {
            let mut lent = lessor.write(&mut bytes);
            let watched = Arc::clone(&watched);
            thread::spawn(move || {
                let mut uses = 0;
                for _ in 0..2 {
                    let used = lent.with(|bytes| {
                        watched.write(1);
                        bytes[0] += 1;
                    });
                    uses += u8::from(used.is_some());
                }
                uses
            })
        });
        // The program has its buffer back, whatever the thread does now.
        watched.write(2);
        let written = bytes[0];
        let uses = user.join().expect("the thread ends well");
        assert_eq!(
            (bytes[0], watched.read()),
            (written, 2),
            "used after the end"
        );
        assert_eq!(written, uses);
    });
}

#[test]
fn two_readers_are_out_when_the_scope_ends() {
    loom::model(|| {
        let watched = Watched::new();
        let bytes = [7_u8];
        let readers = lease(|lessor| {
            [(); 2].map(|()| {
                let lent = lessor.read(&bytes);
                let watched = Arc::clone(&watched);
                thread::spawn(move || lent.with(|bytes| (watched.read(), bytes[0])))
            })
        });
        watched.write(1);
        for reader in readers {
            let read = reader.join().expect("each reader ends well");
            assert!(matches!(read, None | Some((0, 7))), "{read:?}");
        }
    });
}
