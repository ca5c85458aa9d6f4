//! One agent on another host, as who started it sees it: a process (`ssh`), frames over its pipes, and its last words.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
use phalanx_shm::handoff::{self, Handoff};
use phalanx_shm::watcher;
use phalanx_wireup::{Channel, ChannelError, Halves};

use super::command;
use super::errand::Errand;
use super::fault::{Fault, Reason};
use super::frames::{AGENT, Down, Introduction, LAUNCHER, PIECE, Up, decode, encode};
use super::layout::Post;
use crate::group;
use crate::outcome::Exit;
use crate::spawn::set_nonblocking;

/// An agent and the way to it. Dropping it ends the way, and with it all that runs below.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) post: Post,
    /// The command that reaches the host, for errors.
    command: String,
    child: Child,
    death: OwnedFd,
    watched: watcher::Place,
    /// `None` when nothing more is said or heard.
    channel: Option<Channel>,
    stderr: Option<OwnedFd>,
    /// The end of what it wrote to standard error.
    words: VecDeque<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has not introduced itself.
    Silent,
    Up,
    /// Its process has until then to end by itself.
    Closing {
        why: Closing,
        until: Instant,
    },
    /// It has been waited for.
    Gone,
}

#[derive(Debug)]
enum Closing {
    Unanswered {
        noise: String,
    },
    Lost,
    /// How the process ends does not matter.
    Known(Reason),
}

/// What a branch has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// The agent is there.
    Opened(Introduction),
    /// A message.
    Up(Up),
    /// It is over, and its process has been waited for.
    Ended(Fault),
}

impl Branch {
    /// Starts the agent of `errand`, whose process the watcher finds at `watched`, and sends it off.
    pub(crate) fn start(errand: &Errand, watched: watcher::Place) -> Result<Self, Fault> {
        let reach = &errand.common.reach;
        let failed = |source: io::Error| Fault {
            host: errand.post.host.clone(),
            command: command::shown(reach),
            words: String::new(),
            reason: Reason::Command(source),
        };
        let mut command = command::to(&errand.post.host, reach);
        command.process_group(0);
        let handoff = Handoff {
            watched: Some(watched.clone()),
            ..Handoff::default()
        };
        handoff::prepare(&mut command, handoff).map_err(failed)?;
        let mut child = command.spawn().map_err(failed)?;
        let (death, channel, stderr) = match begin(&mut child) {
            Ok(begun) => begun,
            Err(error) => {
                group::end(&mut child, &watched).map_err(failed)?;
                return Err(failed(error));
            }
        };
        let mut branch = Self {
            post: errand.post.clone(),
            command: command::shown(reach),
            child,
            death,
            watched,
            channel: Some(channel),
            stderr: Some(stderr),
            words: VecDeque::new(),
            state: State::Silent,
        };
        branch.send_errand(errand);
        branch.flush();
        Ok(branch)
    }

    fn send_errand(&mut self, errand: &Errand) {
        let bytes = encode(errand);
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            self.send(&Down::Errand {
                piece: piece.to_vec(),
                is_last: pieces.peek().is_none(),
            });
        }
    }

    /// Queues a message, which [`flush`](Self::flush) writes. An agent that is over does not get it.
    pub(crate) fn send(&mut self, message: &Down) {
        if let Some(channel) = &mut self.channel {
            // Only a sealed channel can refuse.
            channel.queue(encode(message)).ok();
        }
    }

    /// Writes what the pipe takes. That it is broken is seen when it is read.
    pub(crate) fn flush(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.flush().ok();
        }
    }

    /// Whether its process has been waited for.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> Vec<PollFd<'_>> {
        let mut interests: Vec<_> = self.channel.iter().flat_map(Channel::interests).collect();
        let readable = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        interests.extend(self.stderr.as_ref().map(|stderr| readable(stderr.as_fd())));
        if matches!(self.state, State::Closing { .. }) {
            interests.push(readable(self.death.as_fd()));
        }
        interests
    }

    /// When [`tend`](Self::tend) has something to do though nothing comes.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Takes in what has come. Blocks only for a process that has been killed.
    pub(crate) fn tend(&mut self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        self.hear_words();
        if let Err(why) = self.hear(&mut news) {
            self.close(why);
        }
        let State::Closing { until, .. } = self.state else {
            return Ok(news);
        };
        if Instant::now() >= until || self.has_died() {
            news.push(News::Ended(self.bury()?));
        }
        Ok(news)
    }

    /// As [`dismiss`](Self::dismiss), if it has not introduced itself: then none of its ranks runs.
    pub(crate) fn dismiss_if_silent(&mut self) {
        if matches!(self.state, State::Silent) {
            self.dismiss();
        }
    }

    /// Says and hears no more. The agent sees that, ends all that runs below it, and then itself.
    pub(crate) fn dismiss(&mut self) {
        self.close(Closing::Known(Reason::Dismissed));
    }

    /// Says and hears no more, because of what it sent.
    pub(crate) fn refuse(&mut self, what: String) {
        self.close(Closing::Known(Reason::Garbage(what)));
    }

    fn hear(&mut self, news: &mut Vec<News>) -> Result<(), Closing> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        let filled = channel.fill();
        if let (State::Silent, Some(line)) = (&self.state, channel.opened()) {
            let ours = Introduction::ours(None);
            let theirs = Introduction::parse(line)
                .ok_or_else(|| Closing::Known(Reason::Garbage(line.to_owned())))?;
            if !ours.fits(&theirs) {
                return Err(Closing::Known(Reason::Version { theirs, ours }));
            }
            self.state = State::Up;
            news.push(News::Opened(theirs));
        }
        loop {
            let frame = match channel.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(ChannelError::Ended | ChannelError::EndedInFrame) => {
                    return Err(match self.state {
                        State::Silent => Closing::Unanswered {
                            noise: channel.noise(),
                        },
                        _ => Closing::Lost,
                    });
                }
                Err(error) => return Err(Closing::Known(Reason::Garbage(error.to_string()))),
            };
            let message = decode(&frame).ok_or_else(|| {
                Closing::Known(Reason::Garbage("a frame that is no message".to_owned()))
            })?;
            news.push(News::Up(message));
        }
        filled.map_err(|error| Closing::Known(Reason::Garbage(error.to_string())))
    }

    /// Keeps the end of what is written to standard error.
    fn hear_words(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stderr) = &self.stderr {
            match read(stderr, &mut buffer) {
                Ok(count) if count > 0 => {
                    self.words.extend(&buffer[..count]);
                    let surplus = self.words.len().saturating_sub(WORDS);
                    self.words.drain(..surplus);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                _ => self.stderr = None,
            }
        }
    }

    fn close(&mut self, why: Closing) {
        if matches!(self.state, State::Silent | State::Up) {
            self.channel = None;
            // What never answered may wait for anything: a connection, a password. An agent beyond it sees that it ends.
            let is_deaf = matches!(self.state, State::Silent) && matches!(why, Closing::Known(_));
            let patience = if is_deaf { Duration::ZERO } else { PATIENCE };
            let until = Instant::now() + patience;
            self.state = State::Closing { why, until };
        }
    }

    fn has_died(&self) -> bool {
        let mut polled = [PollFd::new(self.death.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO) == Ok(1)
    }

    /// Waits for the process, which is killed if it still runs.
    fn bury(&mut self) -> io::Result<Fault> {
        let exit = Exit::from(group::end(&mut self.child, &self.watched)?);
        self.hear_words();
        let reason = match std::mem::replace(&mut self.state, State::Gone) {
            State::Closing {
                why: Closing::Known(reason),
                ..
            } => reason,
            State::Closing {
                why: Closing::Unanswered { noise },
                ..
            } => Reason::Unanswered { exit, noise },
            _ => Reason::Lost { exit },
        };
        let words = Vec::from(std::mem::take(&mut self.words));
        Ok(Fault {
            host: self.post.host.clone(),
            command: self.command.clone(),
            words: String::from_utf8_lossy(&words).into_owned(),
            reason,
        })
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        if !self.is_gone() {
            // Waiting for an own child that has been killed cannot fail.
            group::end(&mut self.child, &self.watched).ok();
        }
    }
}

fn begin(child: &mut Child) -> io::Result<(OwnedFd, Channel, OwnedFd)> {
    let death = handoff::watch(child.id())?;
    let stdin = child.stdin.take().expect("asked for a pipe");
    let stdout = child.stdout.take().expect("asked for a pipe");
    let stderr = OwnedFd::from(child.stderr.take().expect("asked for a pipe"));
    set_nonblocking(&stderr)?;
    let ours = format!("{LAUNCHER}{}", Introduction::ours(None));
    let channel = Channel::plain(Halves::new(stdout, stdin))?.opening(&ours, AGENT);
    Ok((death, channel, stderr))
}

/// How long the process of a branch that says no more may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of last words that are kept: some screens full.
const WORDS: usize = 8 << 10;
