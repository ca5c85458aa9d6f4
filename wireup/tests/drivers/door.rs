//! Ranks that meet at an address, and others who stand there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phalanx_wireup::exchange::{Agent, Card, Scope, Shape};
use phalanx_wireup::rendezvous::{ConnectError, connect};
use phalanx_wireup::{Hub, HubEvent, Place, Token, WireupSource};

use crate::LIMIT;

/// A hub for `ranks` ranks behind the door at `listener`, and what it tells of strangers.
fn serve(listener: TcpListener, token: &Token, ranks: u32) -> JoinHandle<Vec<String>> {
    let mut hub = Hub::new(Agent::root(Shape::new(ranks).with_ranks(0..ranks)).unwrap());
    hub.open_door(listener, token.clone()).unwrap();
    thread::spawn(move || {
        hub.serve(LIMIT).unwrap();
        let events = std::iter::from_fn(|| hub.poll_event());
        let refused = events.filter_map(|event| match event {
            HubEvent::Refused { cause, .. } => Some(cause),
            _ => None,
        });
        refused.collect()
    })
}

fn door() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn token(folder: &Path, name: &str) -> Token {
    Token::create(&folder.join(name)).unwrap()
}

fn whole_life(address: &str, token: &Token, rank: u32, size: u32) {
    let mut client = connect(address, token, rank, size, LIMIT).unwrap();
    client.put(Card::default()).unwrap();
    client.fence(Scope::Job, LIMIT).unwrap();
    client.get((rank + 1) % size, LIMIT).unwrap();
    client.leave(LIMIT).unwrap();
}

#[test]
fn ranks_that_know_no_more_than_their_environment_meet() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = door();
    let path = folder.path().join("token");
    let server = serve(listener, &Token::create(&path).unwrap(), 4);
    let ranks: Vec<_> = (0..4)
        .map(|rank| {
            let (address, path) = (address.clone(), path.clone());
            thread::spawn(move || {
                let place = Place::discover(|name| match name {
                    "PHALANX_RANK" => Some(rank.to_string()),
                    "PHALANX_SIZE" => Some("4".to_owned()),
                    "PHALANX_RENDEZVOUS" => Some(address.clone()),
                    "PHALANX_TOKEN_FILE" => Some(path.display().to_string()),
                    _ => None,
                });
                let place = place.unwrap();
                let Some(WireupSource::Rendezvous {
                    address,
                    token_file,
                }) = place.wireup
                else {
                    panic!("no rendezvous was found");
                };
                let token = Token::read(&token_file).unwrap();
                whole_life(&address, &token, u32::try_from(place.rank).unwrap(), 4);
            })
        })
        .collect();
    for rank in ranks {
        rank.join().unwrap();
    }
    assert_eq!(server.join().unwrap(), [""; 0]);
}

#[test]
fn who_does_not_know_the_token_is_turned_away_and_the_others_meet() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = door();
    let right = token(folder.path(), "right");
    let server = serve(listener, &right, 1);
    let error = connect(&address, &token(folder.path(), "wrong"), 0, 1, LIMIT).unwrap_err();
    assert!(
        matches!(error, ConnectError::Refused { rank: 0, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&address) && text.contains("is the token file the same on all hosts?"),
        "{text}"
    );

    let mut stranger = TcpStream::connect(&address).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The connection is closed or reset, and nothing was said.
    stranger.read_to_end(&mut answer).ok();
    assert!(answer.is_empty());

    whole_life(&address, &right, 0, 1);
    let refused = server.join().unwrap();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(
        refused[0].contains("does not know the job's token"),
        "{refused:?}"
    );
}

#[test]
fn a_rank_number_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = door();
    let token = token(folder.path(), "token");
    let server = serve(listener, &token, 1);
    let first = connect(&address, &token, 0, 1, LIMIT).unwrap();
    for (rank, size, cause) in [(0, 1, "come already"), (1, 2, "another size")] {
        let error = connect(&address, &token, rank, size, LIMIT).unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }
    first.leave(LIMIT).unwrap();
    let refused = server.join().unwrap();
    assert!(refused[0].contains("come already"), "{refused:?}");
    assert!(refused[1].contains("another size"), "{refused:?}");
}

#[test]
fn a_rank_waits_for_a_rendezvous_that_starts_later() {
    let folder = tempfile::tempdir().unwrap();
    let token = token(folder.path(), "token");
    // A port that nobody listens at yet.
    let (listener, address) = door();
    drop(listener);
    let rank = {
        let (address, token) = (address.clone(), token.clone());
        thread::spawn(move || whole_life(&address, &token, 0, 1))
    };
    let listener = TcpListener::bind(&address).unwrap();
    serve(listener, &token, 1).join().unwrap();
    rank.join().unwrap();
}

#[test]
fn a_rendezvous_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let token = token(folder.path(), "token");
    let (listener, address) = door();
    drop(listener);
    let error = connect(&address, &token, 3, 4, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("rank 3 could not reach the rendezvous {address}")),
        "{text}"
    );
}
