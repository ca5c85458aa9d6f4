//! What one rank does with its part of a program, and what it checks.

use std::collections::HashMap;

use phalanx_runtime::message::Received;
use phalanx_runtime::{
    ANY_SOURCE, ANY_TAG, Communicator, MatchedMessage, Request, Result, Source, Status, TagPattern,
    World,
};

use super::plan::{Message, Program, Round, Sending, Shape, Taking};
use crate::harness::content;

/// A tag that nobody sends.
const NEVER: i32 = 1000;

pub(crate) fn run(world: &World, program: &Program) -> Result<()> {
    let me = world.rank();
    let parity = world
        .split(Some(me as u32 % 2), 0)?
        .expect("every rank has a color");
    let communicators = [(**world).clone(), world.duplicate()?, parity];
    for round in &program.rounds {
        let mut rank = Rank {
            me,
            communicators: &communicators,
            round,
            taken: HashMap::new(),
        };
        rank.run(world)?;
        world.barrier()?;
        for communicator in &communicators {
            assert_eq!(
                communicator.iprobe(ANY_SOURCE, ANY_TAG)?,
                None,
                "a message too many"
            );
        }
        // The next round's messages are not to be seen by these probes.
        world.barrier()?;
    }
    Ok(())
}

struct Rank<'a> {
    me: usize,
    communicators: &'a [Communicator; 3],
    round: &'a Round,
    /// How many messages each kind of pattern has taken from each source.
    taken: HashMap<(usize, usize, Option<i32>), usize>,
}

/// A send in flight, whatever it owns.
enum Sent {
    Bytes(Request<Vec<u8>>),
    Text(Request<String>),
    Shared(Request<phalanx_runtime::SharedVec<u8>>),
    Loan(Request<()>),
}

/// A receive in flight.
enum Got {
    Bytes(Request<Received<[u8]>>),
    Text(Request<Received<String>>),
}

impl Rank<'_> {
    fn run(&mut self, world: &World) -> Result<()> {
        let receives = self.round.receives(self.me);
        if !self.round.early {
            let sends = self.send_all(false)?;
            for message in receives {
                self.receive(message)?;
            }
            return finish(sends);
        }
        let mut posted = Vec::new();
        for message in receives {
            let (communicator, shape) = self.place_of(message);
            // Neither takes anything; both are in the way.
            let unwanted = communicator.irecv::<[u8]>(0, NEVER)?;
            posted.push((message, self.post(message)?));
            drop(communicator.irecv::<[u8]>(ANY_SOURCE, NEVER)?);
            assert!(
                unwanted.cancel().is_none(),
                "{shape:?} matched what nobody sent"
            );
        }
        world.barrier()?;
        let sends = self.send_all(true)?;
        // In order of posting, which is the oracle's; any other order of waiting is as good.
        for (message, got) in posted {
            match got {
                Got::Bytes(request) => self.check_bytes(message, &request.wait()?),
                Got::Text(request) => self.check_text(message, &request.wait()?),
            }
        }
        finish(sends)
    }

    fn place_of(&self, message: &Message) -> (&Communicator, Shape) {
        let communicator = &self.communicators[message.communicator];
        (
            communicator,
            self.round.shape(message.to, message.communicator),
        )
    }

    /// The number that a world rank has in a communicator.
    fn local(&self, communicator: usize, world: usize) -> usize {
        if communicator == 2 { world / 2 } else { world }
    }

    fn send_all(&self, may_wait: bool) -> Result<Vec<Sent>> {
        let mine = self.round.messages.iter().filter(|m| m.from == self.me);
        let mut sends = Vec::new();
        for message in mine {
            sends.extend(self.send(message, may_wait)?);
        }
        Ok(sends)
    }

    fn send(&self, message: &Message, may_wait: bool) -> Result<Option<Sent>> {
        let (communicator, shape) = self.place_of(message);
        let to = self.local(message.communicator, message.to);
        let (tag, len) = (message.tag, message.len);
        if shape.archive {
            let text = text(message);
            return Ok(match message.how {
                Sending::Blocking if may_wait => {
                    communicator.send(to, tag, &text)?;
                    None
                }
                Sending::BlockingSynchronous if may_wait => {
                    communicator.ssend(to, tag, &text)?;
                    None
                }
                Sending::Synchronous => Some(Sent::Text(communicator.issend(to, tag, text)?)),
                _ => Some(Sent::Text(communicator.isend(to, tag, text)?)),
            });
        }
        let bytes = content(message.id, len);
        Ok(match message.how {
            Sending::Blocking if may_wait => {
                communicator.send(to, tag, &bytes[..])?;
                None
            }
            Sending::BlockingSynchronous if may_wait => {
                communicator.ssend(to, tag, &bytes[..])?;
                None
            }
            Sending::Synchronous => Some(Sent::Bytes(communicator.issend(to, tag, bytes)?)),
            Sending::Loan => {
                let mut loan = communicator.loan::<[u8]>(len)?;
                loan.copy_from_slice(&bytes);
                Some(Sent::Loan(loan.isend(to, tag)?))
            }
            Sending::Shared => {
                let mut shared = communicator.shared_vec::<u8>(0)?;
                shared.extend_from_slice(&bytes)?;
                Some(Sent::Shared(communicator.isend(to, tag, shared)?))
            }
            Sending::Dropped => {
                drop(communicator.isend(to, tag, bytes)?);
                None
            }
            _ => Some(Sent::Bytes(communicator.isend(to, tag, bytes)?)),
        })
    }

    fn pattern(&self, message: &Message) -> (Source, TagPattern) {
        let (_, shape) = self.place_of(message);
        let source = if shape.any_source {
            ANY_SOURCE.into()
        } else {
            self.local(message.communicator, message.from).into()
        };
        let tag = if shape.any_tag {
            ANY_TAG.into()
        } else {
            message.tag.into()
        };
        (source, tag)
    }

    fn post(&self, message: &Message) -> Result<Got> {
        let (communicator, shape) = self.place_of(message);
        let (source, tag) = self.pattern(message);
        Ok(if shape.archive {
            Got::Text(communicator.irecv::<String>(source, tag)?)
        } else {
            Got::Bytes(communicator.irecv::<[u8]>(source, tag)?)
        })
    }

    fn receive(&mut self, message: &Message) -> Result<()> {
        let (communicator, shape) = self.place_of(message);
        let communicator = communicator.clone();
        let (source, tag) = self.pattern(message);
        let matched: Option<MatchedMessage> = match message.taken {
            Taking::Matched => Some(communicator.mprobe(source, tag)?),
            Taking::PutBack => {
                drop(communicator.mprobe(source, tag)?);
                None
            }
            Taking::MatchedOften => Some(loop {
                if let Some(matched) = communicator.improbe(source, tag)? {
                    break matched;
                }
            }),
            _ => None,
        };
        if shape.archive {
            let got = match matched {
                Some(matched) => matched.recv::<String>()?,
                None => communicator.recv::<String>(source, tag)?,
            };
            self.check_text(message, &got);
            return Ok(());
        }
        let got = match (message.taken, matched) {
            (_, Some(matched)) => matched.recv::<[u8]>()?,
            (Taking::Posted, _) => communicator.irecv::<[u8]>(source, tag)?.wait()?,
            (Taking::Into | Taking::Probed | Taking::ProbedOften | Taking::Scoped, _) => {
                let (status, bytes) = receive_into(&communicator, (source, tag), message.taken)?;
                self.check(
                    message,
                    (status.source(), status.tag()),
                    status.len(),
                    |id| bytes == content(id, bytes.len()),
                );
                return Ok(());
            }
            _ => communicator.recv::<[u8]>(source, tag)?,
        };
        self.check_bytes(message, &got);
        Ok(())
    }

    fn check_bytes(&mut self, asked: &Message, got: &Received<[u8]>) {
        self.check(asked, (got.source(), got.tag()), got.len(), |id| {
            **got == content(id, got.len())[..]
        });
    }

    fn check_text(&mut self, asked: &Message, got: &Received<String>) {
        self.check(asked, (got.source(), got.tag()), got.len(), |id| {
            got.bytes().all(|byte| byte == letter(id))
        });
    }

    /// The oracle: which message a receive got is known from how many were taken before.
    fn check(
        &mut self,
        asked: &Message,
        (source, tag): (usize, i32),
        len: usize,
        is: impl Fn(usize) -> bool,
    ) {
        let (_, shape) = self.place_of(asked);
        let communicator = asked.communicator;
        let named = (!shape.any_tag).then_some(asked.tag);
        let taken = self.taken.entry((communicator, source, named)).or_default();
        let nth = *taken;
        *taken += 1;
        let fitting = |message: &&Message| {
            let from = if communicator == 2 {
                message.from / 2
            } else {
                message.from
            };
            message.to == asked.to
                && message.communicator == communicator
                && from == source
                && named.is_none_or(|tag| message.tag == tag)
        };
        let expected = self.round.messages.iter().filter(fitting).nth(nth);
        let expected = expected.unwrap_or_else(|| panic!("rank {source} sent no such message"));
        assert_eq!(
            (expected.tag, expected.len),
            (tag, len),
            "{expected:?} was due"
        );
        assert!(is(expected.id), "{expected:?} arrived damaged");
    }
}

/// Receives a slice into a buffer of the right or of a larger size.
fn receive_into(
    communicator: &Communicator,
    (source, tag): (Source, TagPattern),
    how: Taking,
) -> Result<(Status, Vec<u8>)> {
    let probed = match how {
        Taking::Probed => Some(communicator.probe(source, tag)?),
        Taking::ProbedOften => Some(loop {
            if let Some(status) = communicator.iprobe(source, tag)? {
                break status;
            }
        }),
        _ => None,
    };
    let mut buffer = vec![0; probed.map_or(200_000, |status| status.size as usize)];
    let status = match (probed, how) {
        // What was probed is what is received next.
        (Some(probed), _) => communicator.recv_into(probed.source, probed.tag, &mut buffer)?,
        (None, Taking::Scoped) => {
            communicator.scope(|scope| scope.irecv_into(source, tag, &mut buffer)?.wait())?
        }
        (None, _) => communicator.recv_into(source, tag, &mut buffer)?,
    };
    buffer.truncate(status.len());
    Ok((status, buffer))
}

fn finish(sends: Vec<Sent>) -> Result<()> {
    for sent in sends {
        match sent {
            Sent::Bytes(request) => drop(request.wait()?),
            Sent::Text(request) => drop(request.wait()?),
            Sent::Shared(request) => drop(request.wait()?),
            Sent::Loan(request) => request.wait()?,
        }
    }
    Ok(())
}

/// Archives are texts of one letter each.
fn text(message: &Message) -> String {
    char::from(letter(message.id))
        .to_string()
        .repeat(message.len)
}

fn letter(id: usize) -> u8 {
    b'a' + (id % 26) as u8
}
