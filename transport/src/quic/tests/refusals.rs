//! Who is not who he claims to be is turned away, and both sides say so in a line.

use std::sync::Arc;
use std::time::Duration;

use super::{await_refusal, await_trouble, bind, enrol, numbered, ping_pong};
use crate::link::{LinkError, PeerState, Transport};
use crate::quic::{Card, Fingerprint, Identity, JobId, Quic, QuicSettings, QuicSocket};

/// Settings whose deadlines are too long to be what ends a test.
fn patient() -> QuicSettings {
    QuicSettings {
        dial_deadline: Duration::from_secs(300),
        ..QuicSettings::default()
    }
}

/// Two ranks of a job, whose lists of cards `change` may tamper with.
fn pair(change: impl FnOnce(&mut [Vec<Card>; 2])) -> [Quic; 2] {
    let job = JobId::random().unwrap();
    let sockets = [0, 1].map(|rank| bind(rank, job, &patient()));
    let cards: Vec<Card> = sockets.iter().map(QuicSocket::card).collect();
    let mut lists = [cards.clone(), cards];
    change(&mut lists);
    let [first, second] = sockets;
    let [of_first, of_second] = lists;
    [enrol(first, &of_first), enrol(second, &of_second)]
}

fn foreign_fingerprint() -> Fingerprint {
    let job = JobId::random().unwrap();
    Identity::generate(0, job).unwrap().card(vec![]).fingerprint
}

fn assert_says(line: &str, words: &[&str]) {
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is missing: {line}");
    }
}

#[test]
fn who_is_listed_is_let_in_and_nobody_is_refused() {
    let mut links = pair(|_| ());
    ping_pong(&mut links, 3);
    assert!(links.iter().all(|link| link.take_refusals().is_empty()));
}

#[test]
fn a_certificate_that_is_on_no_card_is_turned_away() {
    let [mut dials, mut answers] = pair(|[_, list]| list[0].fingerprint = foreign_fingerprint());
    assert!(dials.send(1, &numbered(1), b"secret").unwrap());
    let told = await_trouble(&mut dials, 1);
    assert_says(&told, &["rank 1", "127.0.0.1:", "certificate"]);
    assert_says(
        &await_refusal(&mut answers),
        &["127.0.0.1:", "not the one on that rank's card"],
    );

    let refused = dials.send(1, &numbered(2), b"secret").unwrap_err();
    assert!(matches!(&refused, LinkError::Unreachable { peer: 1, trouble } if *trouble == told));
}

#[test]
fn who_answers_with_another_certificate_hears_nothing() {
    let [mut dials, mut answers] = pair(|[list, _]| list[1].fingerprint = foreign_fingerprint());
    assert!(dials.send(1, &numbered(1), b"secret").unwrap());
    let told = await_trouble(&mut dials, 1);
    assert_says(&told, &["is not rank 1", "127.0.0.1:", "card"]);
    assert_says(
        &await_refusal(&mut answers),
        &["did not accept", "127.0.0.1:"],
    );
}

#[test]
fn a_rank_of_another_job_is_turned_away() {
    let mut others = pair(|_| ());
    let address = others[1].address();
    let [mut dials, _silent] = pair(|[list, _]| list[1].addresses = vec![address]);
    assert!(dials.send(1, &numbered(1), b"secret").unwrap());
    assert_says(
        &await_trouble(&mut dials, 1),
        &["rank 1", "127.0.0.1:", "another job"],
    );
    assert_says(
        &await_refusal(&mut others[1]),
        &["rank 0 of another job", "127.0.0.1:"],
    );
    ping_pong(&mut others, 3);
}

#[test]
fn a_rank_that_pretends_to_be_another_is_turned_away() {
    let job = JobId::random().unwrap();
    let sockets = [0, 1, 2].map(|rank| bind(rank, job, &patient()));
    let cards: Vec<Card> = sockets.iter().map(QuicSocket::card).collect();
    let [answers, _silent, mut pretends] = sockets;
    pretends.identity.rank = 1;
    let mut forged = vec![cards[0].clone(), pretends.card(), cards[1].clone()];
    forged[2].rank = 2;

    let mut answers = enrol(answers, &cards);
    // Whose certificate it is can be said only if its card is here.
    let pins = Arc::clone(&answers.shared.sit().driver.pins);
    pins.learn(&cards[2], 3).unwrap();
    let mut pretends = enrol(pretends, &forged);
    assert!(pretends.send(0, &numbered(1), b"lies").unwrap());
    assert_says(
        &await_trouble(&mut pretends, 0),
        &["rank 0", "127.0.0.1:", "claimed to be rank 1"],
    );
    assert_says(
        &await_refusal(&mut answers),
        &["rank 2", "claimed to be rank 1"],
    );
    // Those that never joined would be looked for, to say goodbye.
    answers.record(1, PeerState::Left);
    answers.record(2, PeerState::Left);
    pretends.record(2, PeerState::Left);
}

#[test]
fn a_stranger_is_turned_away() {
    for protocol in [Some(&b"h3"[..]), None] {
        let [mut dials, mut answers] = pair(|_| ());
        {
            let mut seat = dials.shared.sit();
            let mut client = seat.driver.pins.stranger(protocol);
            client.transport_config(patient().transport(1 << 20, 1200).into());
            seat.driver.client = client;
        }
        assert!(dials.send(1, &numbered(1), b"hello?").unwrap());
        assert_says(&await_trouble(&mut dials, 1), &["rank 1", "127.0.0.1:"]);
        assert_says(&await_refusal(&mut answers), &["stranger", "127.0.0.1:"]);
    }
}
