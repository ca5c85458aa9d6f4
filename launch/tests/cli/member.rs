//! A rank of a job with a wire-up. Its functions are tests too, so that this program can be told to run one of them alone, by name; in
//! a process that is no rank they do nothing.

use std::any::type_name_of_val;
use std::env;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use phalanx_shm::handoff;
use phalanx_wireup::exchange::{Card, Fingerprint, Loss, ProcessEnd, Scope};
use phalanx_wireup::{Channel, Client, Place, WireupSource};

/// Far longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// The arguments that make this program run `function` and nothing else.
pub(crate) fn arguments(function: &impl Fn()) -> [String; 3] {
    let (_, name) = type_name_of_val(function).split_once("::").unwrap();
    ["--exact", "--nocapture", name].map(str::to_owned)
}

/// Joins the wire-up as the rank that the launcher has made of this process, if it has.
fn join() -> Option<(Client, Place)> {
    env::var_os("PHALANX_RANK")?;
    let place = Place::discover(|name| env::var(name).ok()).unwrap();
    let Some(WireupSource::Inherited(number)) = place.wireup else {
        panic!("no wire-up: {place:?}");
    };
    let stream = UnixStream::from(handoff::take(number).unwrap());
    let channel = Channel::plain(stream).unwrap();
    let (rank, size) = (number_of(place.rank), number_of(place.size));
    let client = Client::join(channel, rank, size, LIMIT).unwrap();
    Some((client, place))
}

fn number_of(rank: usize) -> u32 {
    u32::try_from(rank).unwrap()
}

fn card(rank: u32) -> Card {
    Card {
        fingerprint: Fingerprint([u8::try_from(rank).unwrap(); 32]),
        ..Card::default()
    }
}

/// Puts its card and waits for the others' at a fence.
fn meet(client: &mut Client, place: &Place) {
    client.put(card(number_of(place.rank))).unwrap();
    client.fence(Scope::Job, LIMIT).unwrap();
}

/// Listens until `heard` has what it wants.
fn listen<T>(client: &mut Client, heard: impl Fn(&Client) -> Option<T>) -> T {
    loop {
        if let Some(news) = heard(client) {
            return news;
        }
        assert_eq!(client.end(), None);
        let mut polled = [PollFd::new(client.input(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::NONE).unwrap();
        client.turn().unwrap();
    }
}

fn loss_of(client: &mut Client, rank: u32) -> Loss {
    listen(client, |client| {
        let mut losses = client.losses().iter();
        losses.find(|loss| loss.ranks.contains(rank)).cloned()
    })
}

/// A line that stands alone, whatever the test harness of the rank writes.
#[expect(clippy::print_stdout, reason = "the test looks at what its ranks say")]
fn say(what: &str) {
    println!("\nsays {what}");
}

/// What ranks said by `say`, sorted.
pub(crate) fn said(output: &str) -> Vec<&str> {
    let mut said: Vec<_> = output
        .lines()
        .filter_map(|line| line.strip_prefix("says "))
        .collect();
    said.sort_unstable();
    said
}

/// Meets all others, and gets everybody's card.
#[test]
pub(crate) fn meets_all() {
    let Some((mut client, place)) = join() else {
        return;
    };
    meet(&mut client, &place);
    for rank in 0..number_of(place.size) {
        assert_eq!(*client.get(rank, LIMIT).unwrap(), card(rank));
    }
    let job: String = place
        .job
        .unwrap()
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let reached = place.reached.map(|address| address.to_string());
    let shared = client.host_ranks().to_string();
    client.leave(LIMIT).unwrap();
    let reached = reached.as_deref().unwrap_or("-");
    say(&format!("{} {reached} {shared} {job}", place.rank));
}

/// Rank 0 is killed when all have met; the others hear how.
#[test]
pub(crate) fn loses_rank_0() {
    let Some((mut client, place)) = join() else {
        return;
    };
    meet(&mut client, &place);
    if place.rank == 0 {
        raise(Signal::SIGKILL).unwrap();
    }
    let loss = loss_of(&mut client, 0);
    assert_eq!(loss.end, Some(ProcessEnd::Signal(9)), "{loss}");
    say(&loss.to_string());
    client.leave(LIMIT).unwrap();
}

/// Rank 0 closes its channel and goes on. Who hears of it ends the job with code 9.
#[test]
pub(crate) fn loses_the_word_of_rank_0() {
    let Some((mut client, place)) = join() else {
        return;
    };
    meet(&mut client, &place);
    if place.rank == 0 {
        drop(client);
        loop {
            std::thread::park();
        }
    }
    let loss = loss_of(&mut client, 0);
    assert_eq!(loss.end, None, "{loss}");
    say(&loss.to_string());
    std::process::exit(9);
}

/// Rank 0 leaves in good order and ends; all others hear it, and of no loss.
#[test]
pub(crate) fn hears_a_farewell() {
    let Some((mut client, place)) = join() else {
        return;
    };
    meet(&mut client, &place);
    if place.rank > 0 {
        listen(&mut client, |client| {
            client.left().contains(0).then_some(())
        });
        assert_eq!(client.losses(), []);
        say(&format!("{} heard", place.rank));
    }
    client.leave(LIMIT).unwrap();
}
