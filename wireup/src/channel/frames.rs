//! Frames in a stream of bytes: four bytes of length, the least first, then the frame.

use super::ChannelError;

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Bytes at the start that have been taken.
    taken: usize,
}

impl Frames {
    /// Adds what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is there whole. A length that no frame of ours has is refused before anything is kept for it.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        let rest = &self.bytes[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MOST {
            return Err(ChannelError::TooLong { length });
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        self.taken += LENGTH + length;
        Ok(Some(frame.to_vec()))
    }

    /// Whether a frame has begun and is not there whole.
    pub(super) const fn is_within_frame(&self) -> bool {
        self.bytes.len() > self.taken
    }
}

/// Adds `frame` and its length to `bytes`.
pub(super) fn append(bytes: &mut Vec<u8>, frame: &[u8]) {
    let length = u32::try_from(frame.len()).expect("frames have less than 64 KiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(frame);
}

const LENGTH: usize = 4;

/// The longest frame in a stream: one message of the Noise protocol.
pub(super) const MOST: usize = 65_535;
