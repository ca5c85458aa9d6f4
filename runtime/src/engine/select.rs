//! Which way a message goes: a pure function of its size, where its bytes are, and what link and settings allow.
//!
//! The engine asks it for each message that does not leave on the fast path, whose few checks say the same; `phalanx info` prints
//! what it answers.

use phalanx_transport::Capabilities;

use super::Limits;

/// The ways a message can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// In the slot of the ring, beside its header.
    Inline,
    /// Copied into a block of the sender, read or copied out of it by the receiver.
    Eager,
    /// The block that holds it is handed over, uncopied.
    Handover,
    /// Announced; the receiver copies it from where it lies, once.
    Pulled,
    /// Announced; copied in by the sender in chunks while the receiver copies out those before.
    Chunked,
}

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Memory {
    /// Where only the sender can read them.
    Private,
    /// Where the receiver could read them too, in memory that the sender keeps: a shared vector.
    Shared,
    /// In a buffer of the link that the sender gives away: a loan, or an archive.
    Lent,
}

/// The way of a message of `len` bytes. A sender whose credit is used up announces also what would go eagerly.
#[inline]
pub(crate) fn select(
    len: usize,
    memory: Memory,
    synchronous: bool,
    capabilities: &Capabilities,
    limits: &Limits,
) -> Protocol {
    let lent = memory == Memory::Lent && capabilities.lends;
    let pulled = memory != Memory::Private && capabilities.exposes && len >= limits.pull;
    match () {
        // Only an announced message has an answer, from which a synchronous sender learns that a receive has matched.
        () if lent && !synchronous => Protocol::Handover,
        () if pulled => Protocol::Pulled,
        () if synchronous || len > limits.eager => Protocol::Chunked,
        () if len <= capabilities.inline => Protocol::Inline,
        () => Protocol::Eager,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        eager: 16 << 10,
        pull: 1 << 10,
        unexpected: 1 << 20,
        check_types: true,
    };

    fn capabilities(lends: bool, exposes: bool) -> Capabilities {
        Capabilities::new("test", 56, lends, exposes)
    }

    #[test]
    fn thresholds_belong_to_the_smaller_messages_except_that_of_pulling() {
        let shm = capabilities(true, true);
        let way = |len, memory| select(len, memory, false, &shm, &LIMITS);
        for (len, private, shared) in [
            (0, Protocol::Inline, Protocol::Inline),
            (56, Protocol::Inline, Protocol::Inline),
            (57, Protocol::Eager, Protocol::Eager),
            (1023, Protocol::Eager, Protocol::Eager),
            (1024, Protocol::Eager, Protocol::Pulled),
            (16 << 10, Protocol::Eager, Protocol::Pulled),
            ((16 << 10) + 1, Protocol::Chunked, Protocol::Pulled),
            (usize::MAX, Protocol::Chunked, Protocol::Pulled),
        ] {
            assert_eq!(way(len, Memory::Private), private, "{len}");
            assert_eq!(way(len, Memory::Shared), shared, "{len}");
            assert_eq!(way(len, Memory::Lent), Protocol::Handover, "{len}");
        }
    }

    #[test]
    fn a_synchronous_send_is_always_announced() {
        let shm = capabilities(true, true);
        let way = |len, memory| select(len, memory, true, &shm, &LIMITS);
        assert_eq!(way(0, Memory::Private), Protocol::Chunked);
        assert_eq!(way(1 << 10, Memory::Private), Protocol::Chunked);
        assert_eq!(way(1 << 10, Memory::Shared), Protocol::Pulled);
        assert_eq!(way(1 << 10, Memory::Lent), Protocol::Pulled);
    }

    fn memory() -> impl Strategy<Value = Memory> {
        prop_oneof![
            Just(Memory::Private),
            Just(Memory::Shared),
            Just(Memory::Lent)
        ]
    }

    proptest! {
        #[test]
        fn no_link_is_asked_for_what_it_cannot(
            len in 0_usize..1 << 16, memory in memory(), synchronous: bool, lends: bool, exposes: bool,
        ) {
            let way = select(len, memory, synchronous, &capabilities(lends, exposes), &LIMITS);
            prop_assert!(way != Protocol::Handover || lends);
            prop_assert!(way != Protocol::Pulled || exposes);
            prop_assert!(way != Protocol::Eager || len <= LIMITS.eager);
            prop_assert!(way != Protocol::Inline || len <= 56);
        }
    }
}
