//! The node segment, made here and inherited by every rank.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

/// Makes the segment of a job of `ranks` ranks: anonymous, so that the kernel frees it with the last process.
pub(crate) fn create(ranks: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let segment = memfd_create("phalanx", flags)?;
    ftruncate(&segment, (ranks as i64) << 20)?;
    Ok(segment)
}
