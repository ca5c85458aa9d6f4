//! What the link learns of other ranks through the wire-up: their cards, who has left, and who was lost.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phalanx_transport::quic::{self, Directory, JobId, News, Refusal};
use phalanx_transport::{Death, PeerState};
use phalanx_wireup::exchange::{self, Build, Card, Failure, Host, Loss, ProcessEnd, RankSet, Who};
use phalanx_wireup::{Client, ClientError};

use crate::notice::notice;

/// A [`Client`] as the link's directory.
///
/// Dropping it says farewell, and waits for the rendezvous if this process keeps it.
pub(crate) struct WireupDirectory {
    /// `None` once it has said farewell.
    client: Option<Client>,
    rank: u32,
    job: JobId,
    /// Ranks whose cards have not come yet.
    asked: Vec<usize>,
    /// Losses and departures that were passed on.
    losses: usize,
    left: RankSet,
    has_ended: bool,
    news: VecDeque<News>,
    /// The rendezvous of the job, if this rank keeps it.
    host: Option<JoinHandle<()>>,
}

impl WireupDirectory {
    /// The directory of `job`, through `client`; `host` is the thread of the rendezvous, if this process keeps it.
    pub(crate) fn new(client: Client, job: JobId, host: Option<JoinHandle<()>>) -> Self {
        Self {
            rank: client.rank(),
            client: Some(client),
            job,
            asked: Vec::new(),
            losses: 0,
            left: RankSet::default(),
            has_ended: false,
            news: VecDeque::new(),
            host,
        }
    }

    /// Takes in what has come, and makes news of it.
    fn look(&mut self) {
        let Some(client) = self.client.as_mut().filter(|_| !self.has_ended) else {
            return;
        };
        // What is wrong with the connection is the end of the exchange, of which there is news below.
        let turned = client.turn();
        for loss in &client.losses()[self.losses..] {
            let lost = loss.ranks.iter().map(|rank| departure(rank, loss));
            self.news.extend(lost);
        }
        self.losses = client.losses().len();
        let left = client.left();
        if left.len() != self.left.len() {
            let newly = left.without(&self.left);
            let gone = newly
                .iter()
                .map(|rank| News::State(rank as usize, PeerState::Left));
            self.news.extend(gone);
            self.left = left.clone();
        }
        let job = self.job;
        let news = &mut self.news;
        self.asked
            .retain(|&rank| match client.poll_get(number(rank)) {
                Poll::Pending => true,
                Poll::Ready(Ok(card)) => {
                    news.push_back(News::Card(from_wireup(rank, job, &card)));
                    false
                }
                // That it is lost was told above.
                Poll::Ready(Err(Failure::Lost(_))) => false,
                Poll::Ready(Err(failure)) => {
                    news.push_back(News::OutOfReach(rank, failure.to_string()));
                    false
                }
            });
        let end = client.end().map(ToString::to_string);
        if let Some(cause) = end.or_else(|| turned.err().map(|error| error.to_string())) {
            self.has_ended = true;
            self.news.push_back(News::End(cause));
        }
    }
}

impl Directory for WireupDirectory {
    fn ask(&mut self, rank: usize) {
        let Some(client) = &mut self.client else {
            return;
        };
        match client.start_get(number(rank)) {
            Ok(()) | Err(ClientError::Failure(Failure::Lost(_))) => self.asked.push(rank),
            Err(error) => self
                .news
                .push_back(News::OutOfReach(rank, error.to_string())),
        }
    }

    fn poll(&mut self) -> Option<News> {
        if self.news.is_empty() {
            self.look();
        }
        self.news.pop_front()
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        let client = self.client.as_ref().filter(|_| !self.has_ended);
        client.map(Client::input)
    }

    fn turned_away(&mut self, refusal: &Refusal) {
        notice(&format!("rank {}: {refusal}", self.rank));
    }
}

impl Drop for WireupDirectory {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !thread::panicking()
        {
            // Who cannot be told any more has seen the connection end.
            let _ = client.leave(FAREWELL);
        }
        if let Some(host) = self.host.take()
            && !thread::panicking()
        {
            // It ends with a panic only if there is a bug, of which it has told.
            let _ = host.join();
        }
    }
}

impl fmt::Debug for WireupDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireupDirectory")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

/// The card that all others shall have of this rank.
pub(crate) fn to_wireup(card: &quic::Card, host: Host) -> Card {
    Card {
        addresses: card.addresses.clone(),
        fingerprint: exchange::Fingerprint(card.fingerprint.to_bytes()),
        host,
        build: Build::of_this_program(quic::PROTOCOL_VERSION),
    }
}

fn from_wireup(rank: usize, job: JobId, card: &Arc<Card>) -> quic::Card {
    let fingerprint = quic::Fingerprint::from_bytes(card.fingerprint.0);
    quic::Card::new(rank, job, card.addresses.clone(), fingerprint)
}

/// What to say of a rank that was lost. Where its host was lost with it, that may be cut off as well as down.
fn departure(rank: u32, loss: &Loss) -> News {
    let how = match (loss.end, loss.who) {
        (Some(ProcessEnd::Exit(code)), _) => Death::Exit(code),
        (Some(ProcessEnd::Signal(signal)), _) => Death::Signal(signal),
        (None, Who::Rank(_)) => Death::Unknown,
        (None, _) => return News::OutOfReach(rank as usize, loss.to_string()),
    };
    News::State(rank as usize, PeerState::Dead(how))
}

fn number(rank: usize) -> u32 {
    u32::try_from(rank).expect("a job has fewer ranks")
}

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);
