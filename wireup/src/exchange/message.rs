//! What goes along the edges of the tree, and its bytes.
//!
//! ```text
//!   frame = version (1 byte) | message, as postcard writes it
//! ```
//!
//! A reader takes nothing on trust: the length is checked before anything else, then the version, then that the bytes are one
//! message and nothing after it, then the limits of what is inside. Numbers take as many bytes as they need, so that most
//! messages have less than ten.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Abort, Card, Fault, Loss, MAX_RANKS, RankSet, Scope, Who};

/// What parents and children in the tree say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Up, first of all: who speaks, and how large it believes the job to be.
    Hello { who: Who, size: u32 },
    /// Down, the answer to a rank: who its agent is, and the ranks of its host.
    Welcome { agent: Who, host: RankSet },
    /// Up: cards of ranks below.
    Put(Vec<(u32, Arc<Card>)>),
    /// Up: all below have come to this fence.
    Arrive { scope: Scope, round: u32 },
    /// Down: all have come to it.
    Pass { scope: Scope, round: u32 },
    /// Up: somebody below wants this card.
    Get { rank: u32 },
    /// Down: here it is.
    Answer { rank: u32, card: Arc<Card> },
    /// Up: seen here. Down: so it is for all.
    Lost(Loss),
    /// Both ways, as losses: these ranks have left in good order.
    Left(RankSet),
    /// Both ways.
    Abort(Abort),
    /// Up, last of all: nothing more is needed, and the end of the connection is no loss.
    Leave,
    /// Down, in place of a welcome: why this rank does not belong here.
    Refused(String),
}

impl Message {
    /// Its name in an error.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "a greeting",
            Self::Welcome { .. } => "a welcome",
            Self::Put(_) => "a card that was put",
            Self::Arrive { .. } => "an arrival at a fence",
            Self::Pass { .. } => "a passed fence",
            Self::Get { .. } => "a request for a card",
            Self::Answer { .. } => "a card",
            Self::Lost(_) => "a loss",
            Self::Left(_) => "news of who has left",
            Self::Abort(_) => "an abort",
            Self::Leave => "a farewell",
            Self::Refused(_) => "a refusal",
        }
    }

    pub(super) const fn out_of_order(&self) -> Fault {
        Fault::OutOfOrder { what: self.name() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let frame = postcard::to_extend(self, vec![VERSION])
            .expect("postcard writes every message of ours into a vector");
        debug_assert!(
            frame.len() <= MAX_FRAME,
            "the limits of the parts keep frames short"
        );
        frame
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self, Fault> {
        if frame.len() > MAX_FRAME {
            let length = frame.len();
            return Err(Fault::TooLong { length });
        }
        let (&version, body) = frame.split_first().ok_or(Fault::Damaged)?;
        if version != VERSION {
            return Err(Fault::Version { version });
        }
        match postcard::take_from_bytes::<Self>(body) {
            Ok((message, [])) if message.is_within_limits() => Ok(message),
            _ => Err(Fault::Damaged),
        }
    }

    fn is_within_limits(&self) -> bool {
        match self {
            Self::Hello { size, .. } => (1..=MAX_RANKS).contains(size),
            Self::Put(cards) => {
                (1..=CARDS_OF_A_FRAME).contains(&cards.len())
                    && cards.iter().all(|(_, card)| card.check().is_ok())
            }
            Self::Answer { card, .. } => card.check().is_ok(),
            Self::Lost(loss) => loss.cause.len() <= MAX_TEXT && !loss.ranks.is_empty(),
            Self::Left(ranks) => !ranks.is_empty(),
            Self::Abort(abort) => abort.text.len() <= MAX_TEXT,
            Self::Refused(cause) => cause.len() <= MAX_TEXT,
            _ => true,
        }
    }
}

/// The version of the messages. A change of a message or of [`Card`] changes it, and the test that pins the bytes.
pub const VERSION: u8 = 3;

/// The longest frame. It fits into one message of the encrypted channel (65,535 bytes) and holds the largest set of ranks.
pub const MAX_FRAME: usize = 60 * 1024;

/// The longest cause of a loss or text of an abort, in bytes.
pub const MAX_TEXT: usize = 1024;

/// Cards have at most some 1,200 bytes, most have less than 150.
pub(super) const CARDS_OF_A_FRAME: usize = 32;
