//! Atomics of the standard library with a scheduling point of shuttle before each access.
//!
//! Shuttle's own atomics carry its bookkeeping inside and so cannot lie in a segment, where zeroed bytes become atomics. These have
//! the layout of the originals, and the whole crate runs on them as it is. What a schedule sees is sequentially consistent, as with
//! shuttle's own.

pub(crate) use std::sync::atomic::Ordering;

macro_rules! scheduled {
    ($($name:ident($value:ty) { $($access:ident($($argument:ident: $kind:ty),*) $(-> $answer:ty)?;)* })*) => {$(
        /// As its namesake of the standard library.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(std::sync::atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            $(#[inline]
            pub(crate) fn $access(&self, $($argument: $kind),*) $(-> $answer)? {
                shuttle::thread::yield_now();
                self.0.$access($($argument),*)
            })*
        }
    )*};
}

scheduled! {
    AtomicU32(u32) {
        load(order: Ordering) -> u32;
        store(value: u32, order: Ordering);
        fetch_add(value: u32, order: Ordering) -> u32;
        fetch_and(value: u32, order: Ordering) -> u32;
        fetch_or(value: u32, order: Ordering) -> u32;
        compare_exchange(old: u32, new: u32, done: Ordering, failed: Ordering) -> Result<u32, u32>;
    }
    AtomicU64(u64) {
        load(order: Ordering) -> u64;
        store(value: u64, order: Ordering);
        swap(value: u64, order: Ordering) -> u64;
        fetch_or(value: u64, order: Ordering) -> u64;
    }
}

impl AtomicU32 {
    /// As its namesake of the standard library: one access, however often that has to try.
    pub(crate) fn fetch_update(
        &self,
        done: Ordering,
        failed: Ordering,
        update: impl FnMut(u32) -> Option<u32>,
    ) -> Result<u32, u32> {
        shuttle::thread::yield_now();
        self.0.fetch_update(done, failed, update)
    }
}
