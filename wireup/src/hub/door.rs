//! The door of a hub: a listener by which strangers come in who know the token.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{Hub, HubEvent, Link, Peer};
use crate::channel::{Channel, ChannelError, Token};
use crate::rendezvous;

/// A listener, and what who comes has to know.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: TcpListener,
    token: Token,
    /// Until when it is left alone, after it failed.
    pub(super) stuck_until: Option<Instant>,
}

impl Hub {
    /// Lets children in by `listener` who know `token`. Who has not said its name after ten seconds is turned away.
    ///
    /// # Errors
    /// When the listener cannot be made non-blocking.
    pub fn open_door(&mut self, listener: TcpListener, token: Token) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.door = Some(Door {
            listener,
            token,
            stuck_until: None,
        });
        Ok(())
    }

    /// The door, if somebody may come in. A door that is not open is not waited at, for it would end each wait at once.
    pub(super) fn open(&self) -> Option<&Door> {
        let has_room = self.links.len() < self.agent.children() + MOST_STRANGERS;
        self.door
            .as_ref()
            .filter(|door| has_room && door.stuck_until.is_none())
    }

    /// Lets in who stands at the door.
    pub(super) fn admit(&mut self) {
        if let Some(door) = &mut self.door {
            let now = Instant::now();
            door.stuck_until = door.stuck_until.filter(|&end| end > now);
        }
        while let Some(door) = self.open() {
            let (stream, from) = match door.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.wait_at_door(error);
                    return;
                }
            };
            let prepared = rendezvous::prepare(&stream).map_err(ChannelError::from);
            match prepared.and_then(|()| Channel::answering(stream, &door.token)) {
                Ok(channel) => {
                    let deadline = Instant::now() + INTRODUCTION;
                    self.links.push(Link {
                        channel,
                        peer: Peer::Stranger { from, deadline },
                        is_watched: false,
                    });
                }
                Err(error) => self.events.push_back(HubEvent::Refused {
                    from,
                    cause: error.to_string(),
                }),
            }
        }
    }

    /// Leaves the door alone for a while, unless it is only that nobody stands there.
    fn wait_at_door(&mut self, cause: io::Error) {
        use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
        if !matches!(cause.kind(), ConnectionAborted | Interrupted | WouldBlock) {
            if let Some(door) = &mut self.door {
                door.stuck_until = Some(Instant::now() + STUCK);
            }
            self.events.push_back(HubEvent::DoorStuck { cause });
        }
    }
}

/// How long a stranger may take to prove that it knows the token and to say its name. Both are a round trip; a machine that
/// starts a thousand ranks at once is slow.
pub(super) const INTRODUCTION: Duration = Duration::from_secs(10);

/// How long a door is left alone that could let nobody in.
const STUCK: Duration = Duration::from_secs(1);

/// Strangers beside as many as may still come rightly, so that they cannot use up the descriptors of this process.
const MOST_STRANGERS: usize = 64;
