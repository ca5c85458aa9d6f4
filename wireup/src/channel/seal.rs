//! Frames that only those can write and read who know the job's token.
//!
//! The protocol is Noise `NNpsk0`, by the crate `snow`: with the token as pre-shared key both sides prove that they know it in
//! one round trip, and fresh keys make that what was recorded stays secret even if the token is found later. TLS would need
//! certificates that nobody could check here, since rustls has no external pre-shared keys, and a challenge by hand around it
//! would be a protocol of our own.
//!
//! ```text
//!   caller                                   answerer
//!     | -- e, encrypted with the token ------> |      cannot be made without the token
//!     | <------------- e, ee ----------------- |      proves it of the answerer
//!     | -- frames, each one Noise message ---> |      prove it of the caller
//! ```

use snow::{Builder, HandshakeState, TransportState};

use super::{ChannelError, Token};

/// What happens to frames between a process and its stream.
#[derive(Debug)]
pub(super) enum Seal {
    /// Nothing: the stream itself is private.
    None,
    /// The two sides are proving that they know the token.
    Greeting {
        state: Box<HandshakeState>,
        /// Frames that were to be sent meanwhile.
        waiting: Vec<Vec<u8>>,
    },
    /// They have proved it.
    Closed(Box<TransportState>),
    /// They have not. Nothing more goes through.
    Broken,
}

/// What a frame of the stream was.
pub(super) enum Opened {
    /// One of the exchange.
    Frame(Vec<u8>),
    /// One of the handshake, after which these go into the stream.
    Replies(Vec<Vec<u8>>),
}

impl Seal {
    /// The side that speaks first, and what it says.
    pub(super) fn calling(token: &Token) -> Result<(Self, Vec<u8>), ChannelError> {
        let mut state = builder(token)?.build_initiator().map_err(failed)?;
        let greeting = written(|buffer| state.write_message(&[], buffer))?;
        Ok((Self::greeting(state), greeting))
    }

    /// The side that waits to be spoken to.
    pub(super) fn answering(token: &Token) -> Result<Self, ChannelError> {
        builder(token)?
            .build_responder()
            .map(Self::greeting)
            .map_err(failed)
    }

    pub(super) const fn is_greeting(&self) -> bool {
        matches!(self, Self::Greeting { .. })
    }

    pub(super) const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }

    /// `frame` as it goes into the stream; `None` while it has to wait.
    pub(super) fn close(&mut self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, ChannelError> {
        match self {
            Self::None => Ok(Some(frame)),
            Self::Greeting { waiting, .. } => {
                waiting.push(frame);
                Ok(None)
            }
            Self::Closed(state) => written(|buffer| state.write_message(&frame, buffer)).map(Some),
            Self::Broken => Err(ChannelError::WrongToken),
        }
    }

    /// What `sealed`, a frame of the stream, is.
    pub(super) fn open(&mut self, sealed: Vec<u8>) -> Result<Opened, ChannelError> {
        match std::mem::replace(self, Self::Broken) {
            Self::None => {
                *self = Self::None;
                Ok(Opened::Frame(sealed))
            }
            Self::Greeting { state, waiting } => self.greet(state, waiting, &sealed),
            Self::Closed(mut state) => {
                let frame = written(|buffer| state.read_message(&sealed, buffer))?;
                *self = Self::Closed(state);
                Ok(Opened::Frame(frame))
            }
            Self::Broken => Err(ChannelError::WrongToken),
        }
    }

    fn greeting(state: HandshakeState) -> Self {
        Self::Greeting {
            state: Box::new(state),
            waiting: Vec::new(),
        }
    }

    /// Takes in the other side's part of the handshake, after which it is done.
    fn greet(
        &mut self,
        mut state: Box<HandshakeState>,
        waiting: Vec<Vec<u8>>,
        sealed: &[u8],
    ) -> Result<Opened, ChannelError> {
        written(|buffer| state.read_message(sealed, buffer))?;
        let mut replies = Vec::with_capacity(1 + waiting.len());
        if !state.is_handshake_finished() {
            replies.push(written(|buffer| state.write_message(&[], buffer))?);
        }
        let state = state.into_transport_mode().map_err(failed)?;
        *self = Self::Closed(Box::new(state));
        for frame in waiting {
            replies.extend(self.close(frame)?);
        }
        Ok(Opened::Replies(replies))
    }
}

fn builder(token: &Token) -> Result<Builder<'_>, ChannelError> {
    let parameters = PROTOCOL.parse().map_err(failed)?;
    Builder::new(parameters)
        .psk(0, token.secret())
        .and_then(|builder| builder.prologue(PROLOGUE))
        .map_err(failed)
}

/// What `write` puts into a buffer that holds any message of Noise.
fn written(
    write: impl FnOnce(&mut [u8]) -> Result<usize, snow::Error>,
) -> Result<Vec<u8>, ChannelError> {
    let mut buffer = vec![0; super::frames::MOST];
    let length = write(&mut buffer).map_err(|error| match error {
        // The second is a message that is shorter than any can be.
        snow::Error::Decrypt | snow::Error::Input => ChannelError::WrongToken,
        error => failed(error),
    })?;
    buffer.truncate(length);
    buffer.shrink_to_fit();
    Ok(buffer)
}

fn failed(error: snow::Error) -> ChannelError {
    ChannelError::Cipher(error.to_string())
}

const PROTOCOL: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Keeps other uses of the same token apart.
const PROLOGUE: &[u8] = b"phalanx wire-up 1";
