//! The few system calls that no safe crate offers: futex, membarrier, populate.

use std::io;
use std::time::Duration;

use crate::primitive::AtomicU32;

/// Sleeps until `word` is woken, holds something else than `expected`, a signal arrives, or `timeout` has passed.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the word and the limit outlive the call; the kernel only reads them. Not FUTEX_PRIVATE: the word lies in memory shared
    // between processes. A peer that writes nonsense into the word wakes us early, which every caller allows for.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const limit,
        )
    };
}

/// Wakes everyone who sleeps on `word`.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: the kernel uses the address as a key and does not touch the memory.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            libc::c_int::MAX,
        )
    };
}

/// A full memory barrier on every processor that runs a registered process.
pub(crate) fn membarrier() {
    membarrier_command(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
        .expect("membarrier was available when this process registered");
}

/// Makes this process one that [`membarrier`] reaches; says whether the kernel can.
pub(crate) fn register_for_membarrier() -> bool {
    membarrier_command(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED).is_ok()
}

/// Whether this process may issue a memory barrier for the others of its job: a container's profile can forbid it, and a rank that is
/// about to sleep then makes each sender pay for one.
#[must_use]
pub fn membarrier_is_available() -> bool {
    register_for_membarrier()
}

/// Allocates and maps every page of the range now, so that running out of memory is an error here and not a signal later.
pub(crate) fn populate(range: &[std::cell::UnsafeCell<u8>]) -> io::Result<()> {
    // SAFETY: the range is mapped, which the reference says; populating changes no byte of it.
    let answer = unsafe {
        libc::madvise(
            range.as_ptr().cast_mut().cast(),
            range.len(),
            libc::MADV_POPULATE_WRITE,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn membarrier_command(command: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointer is passed; the call has no effect but the barrier or the registration.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
