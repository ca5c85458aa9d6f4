//! Channels: what comes out is what went in, whole, and only for those who know the token.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use phalanx_wireup::{Channel, ChannelError, Token};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::LIMIT;

fn token() -> Token {
    let folder = tempfile::tempdir().unwrap();
    Token::create(&folder.path().join("token")).unwrap()
}

fn next(channel: &mut Channel) -> Result<Vec<u8>, ChannelError> {
    loop {
        channel.flush()?;
        if let Some(frame) = channel.next_frame()? {
            return Ok(frame);
        }
        if !channel.flush()? {
            continue;
        }
        channel.wait(LIMIT)?;
        channel.fill()?;
    }
}

/// Carries on with a handshake until neither side has anything to say, or one finds a fault.
fn exchange(one: &mut Channel, other: &mut Channel) -> Result<(), ChannelError> {
    for _ in 0..4 {
        for channel in [&mut *one, &mut *other] {
            channel.flush()?;
            channel.fill()?;
            assert_eq!(channel.next_frame()?, None);
            channel.flush()?;
        }
    }
    Ok(())
}

/// A stream whose written bytes somebody else sees, and may change.
struct Tapped {
    stream: UnixStream,
    seen: Arc<Mutex<Vec<u8>>>,
    /// The byte that is changed.
    turned: Option<usize>,
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Tapped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut seen = self.seen.lock().unwrap();
        let mut bytes = bytes.to_vec();
        if let Some(byte) = self
            .turned
            .and_then(|at| bytes.get_mut(at.checked_sub(seen.len())?))
        {
            *byte ^= 1;
        }
        let written = self.stream.write(&bytes)?;
        seen.extend(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Tapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What crossed the stream when `frame` was sent through a sealed channel, and what came out.
fn overheard(frame: &[u8], turned: Option<usize>) -> (Vec<u8>, Result<Vec<u8>, ChannelError>) {
    let token = token();
    let (caller, answerer) = UnixStream::pair().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tapped = Tapped {
        stream: caller,
        seen: Arc::clone(&seen),
        turned,
    };
    let mut caller = Channel::calling(tapped, &token).unwrap();
    let mut answerer = Channel::answering(answerer, &token).unwrap();
    let got = exchange(&mut caller, &mut answerer).and_then(|()| {
        caller.queue(frame.to_vec())?;
        caller.flush()?;
        next(&mut answerer)
    });
    let seen = seen.lock().unwrap().clone();
    (seen, got)
}

#[test]
fn a_sealed_frame_is_not_seen_on_the_stream() {
    let frame = b"the fingerprint of rank 3".repeat(3);
    let (seen, got) = overheard(&frame, None);
    assert_eq!(got.unwrap(), frame);
    assert!(seen.len() > frame.len());
    assert!(
        !seen
            .windows(8)
            .any(|window| frame.windows(8).any(|part| part == window))
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    let (seen, _) = overheard(b"frame", None);
    for at in 0..seen.len() {
        // A changed length makes the stream stop or end; a changed byte behind it breaks the seal.
        let is_length = at < 4 || (52..56).contains(&at);
        if !is_length {
            let (_, got) = overheard(b"frame", Some(at));
            assert!(
                matches!(got, Err(ChannelError::WrongToken)),
                "byte {at}: {got:?}"
            );
        }
    }
}

#[test]
fn frames_that_were_queued_before_the_handshake_come_after_it() {
    let token = token();
    let (caller, answerer) = UnixStream::pair().unwrap();
    let mut caller = Channel::calling(caller, &token).unwrap();
    let mut answerer = Channel::answering(answerer, &token).unwrap();
    for number in 0..3_u8 {
        caller.queue(vec![number; 5]).unwrap();
        answerer.queue(vec![number; 7]).unwrap();
    }
    caller.flush().unwrap();
    answerer.fill().unwrap();
    assert_eq!(answerer.next_frame().unwrap(), None);
    answerer.flush().unwrap();
    for number in 0..3_u8 {
        assert_eq!(next(&mut caller).unwrap(), [number; 7]);
    }
    caller.flush().unwrap();
    for number in 0..3_u8 {
        assert_eq!(next(&mut answerer).unwrap(), [number; 5]);
    }
}

#[test]
fn another_token_opens_nothing() {
    let (caller, answerer) = UnixStream::pair().unwrap();
    let mut caller = Channel::calling(caller, &token()).unwrap();
    let mut answerer = Channel::answering(answerer, &token()).unwrap();
    caller.queue(b"secret".to_vec()).unwrap();
    let error = exchange(&mut caller, &mut answerer).unwrap_err();
    assert!(matches!(error, ChannelError::WrongToken), "{error}");
    assert!(
        answerer.queue(b"frame".to_vec()).is_err(),
        "nothing goes out any more"
    );
    drop(answerer);
    caller.fill().unwrap();
    let error = caller.next_frame().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is the token file the same on all hosts?"),
        "{error}"
    );
}

#[test]
fn a_frame_said_again_by_somebody_else_is_not_believed() {
    let token = token();
    let (caller, answerer) = UnixStream::pair().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tapped = Tapped {
        stream: caller,
        seen: Arc::clone(&seen),
        turned: None,
    };
    let mut caller = Channel::calling(tapped, &token).unwrap();
    let mut answerer = Channel::answering(answerer, &token).unwrap();
    caller.queue(b"hello".to_vec()).unwrap();
    exchange_until_frame(&mut caller, &mut answerer);
    // Everything that the caller said is said again to a new answerer.
    let (mut thief, second) = UnixStream::pair().unwrap();
    let mut second = Channel::answering(second, &token).unwrap();
    thief.write_all(&seen.lock().unwrap()).unwrap();
    second.fill().unwrap();
    assert!(matches!(second.next_frame(), Err(ChannelError::WrongToken)));
}

fn exchange_until_frame(caller: &mut Channel, answerer: &mut Channel) {
    caller.flush().unwrap();
    answerer.fill().unwrap();
    assert_eq!(answerer.next_frame().unwrap(), None);
    answerer.flush().unwrap();
    caller.fill().unwrap();
    assert_eq!(caller.next_frame().unwrap(), None);
    caller.flush().unwrap();
    assert_eq!(next(answerer).unwrap(), b"hello");
}

#[test]
fn the_end_of_a_stream_says_where_it_came() {
    let whole = [3_u8, 0, 0, 0, 1, 2, 3];
    for (cut, inside) in [(7, false), (6, true), (2, true), (0, false)] {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let mut channel = Channel::plain(reader).unwrap();
        writer.write_all(&whole[..cut]).unwrap();
        drop(writer);
        channel.fill().unwrap();
        if cut == 7 {
            assert_eq!(channel.next_frame().unwrap(), Some(vec![1, 2, 3]));
        }
        let error = channel.next_frame().unwrap_err();
        assert_eq!(
            matches!(error, ChannelError::EndedInFrame),
            inside,
            "{cut}: {error}"
        );
    }
}

#[test]
fn a_length_that_no_frame_has_is_refused_before_it_arrives() {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    let mut channel = Channel::plain(reader).unwrap();
    writer.write_all(&65_536_u32.to_le_bytes()).unwrap();
    channel.fill().unwrap();
    let error = channel.next_frame().unwrap_err();
    assert!(
        matches!(error, ChannelError::TooLong { length: 65_536 }),
        "{error}"
    );
}

proptest! {
    #[test]
    fn frames_come_whole_however_the_stream_cuts_them(
        frames in vec(vec(any::<u8>(), 0..200), 0..20),
        cuts in vec(1_usize..50, 1..20),
    ) {
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
            bytes.extend(frame);
        }
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let mut channel = Channel::plain(reader).unwrap();
        let (mut got, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (part, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            writer.write_all(part).unwrap();
            rest = after;
            channel.fill().unwrap();
            while let Some(frame) = channel.next_frame().unwrap() {
                got.push(frame);
            }
        }
        prop_assert_eq!(got, frames);
    }

    #[test]
    fn no_bytes_open_a_sealed_channel(frames in vec(vec(any::<u8>(), 0..120), 1..4)) {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let mut channel = Channel::answering(reader, &token()).unwrap();
        for frame in &frames {
            writer.write_all(&u32::try_from(frame.len()).unwrap().to_le_bytes()).unwrap();
            writer.write_all(frame).unwrap();
        }
        channel.fill().unwrap();
        prop_assert!(channel.next_frame().is_err());
        prop_assert!(channel.next_frame().is_err());
    }
}
