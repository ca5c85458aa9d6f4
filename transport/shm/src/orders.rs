//! Every memory ordering of the shared protocols, named once beside its partner.
//!
//! The model checks weaken each of them in turn (`--cfg phalanx_mutant="NAME"`) and must then fail: an ordering that nothing misses
//! is either too strong or untested.

use crate::primitive::Ordering;

/// Sender: the store of a slot's word. Publishes the slot's body and whatever block it describes. Partner: [`OBSERVE`].
pub(crate) const PUBLISH: Ordering = weakened(cfg!(phalanx_mutant = "publish"), Ordering::Release);

/// Receiver: the load of a slot's word. Partner: [`PUBLISH`].
pub(crate) const OBSERVE: Ordering = weakened(cfg!(phalanx_mutant = "observe"), Ordering::Acquire);

/// Receiver: the store of the count of consumed slots; its reads of those slots are over. Partner: [`CREDIT`].
pub(crate) const CONSUME: Ordering = weakened(cfg!(phalanx_mutant = "consume"), Ordering::Release);

/// Sender: the load of that count before it writes a slot again. Partner: [`CONSUME`].
pub(crate) const CREDIT: Ordering = weakened(cfg!(phalanx_mutant = "credit"), Ordering::Acquire);

/// Borrower: the store of a returned block's number; its reads of the block are over. Partner: [`RECLAIM`].
pub(crate) const RETURN: Ordering = weakened(cfg!(phalanx_mutant = "return"), Ordering::Release);

/// Owner: the load of a returned block's number before the block is written again. Partner: [`RETURN`].
pub(crate) const RECLAIM: Ordering = weakened(cfg!(phalanx_mutant = "reclaim"), Ordering::Acquire);

/// Sender and receiver: every change of the doorbell's words. Sender rings after it published, so that who takes the ring sees the
/// slot; who clears and who sets meet in the same word. Its own partner.
pub(crate) const RING: Ordering = weakened(cfg!(phalanx_mutant = "ring"), Ordering::AcqRel);

/// Favourite of a biased lock: the store that says that it is not inside, or no more; its use of the value is over. Partner:
/// [`SUCCEED`].
pub(crate) const LEAVE: Ordering = weakened(cfg!(phalanx_mutant = "leave"), Ordering::Release);

/// Who uses the value after the favourite: the load that finds it outside. Partner: [`LEAVE`].
pub(crate) const SUCCEED: Ordering = weakened(cfg!(phalanx_mutant = "succeed"), Ordering::Acquire);

const fn weakened(mutant: bool, right: Ordering) -> Ordering {
    if mutant { Ordering::Relaxed } else { right }
}
