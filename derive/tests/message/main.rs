//! What the derive accepts, as a program writes it: a program that knows neither rkyv nor unsafe code.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test are no `#[test]`")]
#![expect(
    clippy::use_self,
    reason = "types mention themselves by name and as `Self`, since both have to work"
)]

mod damaged;
mod layout;
mod round_trip;
mod types;

use phalanx::{Message, Received};
use phalanx_transport::{AlignedBytes, Payload};

fn encode<M: Message>(message: &M) -> AlignedBytes {
    let mut buffer = AlignedBytes::zeroed(1 << 16);
    let size = message.archive_into(buffer.as_mut_slice()).unwrap();
    buffer.truncate(size);
    buffer
}

fn receive<M: Message>(message: &M) -> Received<M> {
    Received::new(Payload::copy_of(&encode(message)), 0, 0).unwrap()
}
