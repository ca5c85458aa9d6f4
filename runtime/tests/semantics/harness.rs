//! Jobs of threads that cannot hang unnoticed, the settings they run with, and a rank that dies on purpose.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::abort;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use phalanx_runtime::config::Config;
use phalanx_runtime::testing::Job;
use phalanx_runtime::{Result, World};

/// Far longer than any test takes on the slowest machine.
const HANG: Duration = Duration::from_secs(120);

/// Runs `body`; if it hangs, ends the process with what `name` says.
pub(crate) fn watched<R>(
    name: impl Fn() -> String + Send + 'static,
    body: impl FnOnce() -> R,
) -> R {
    let (running, over) = channel::<()>();
    let test = thread::current().name().unwrap_or("?").to_owned();
    let watchdog = thread::spawn(move || {
        if over.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs: {}", name());
            abort();
        }
    });
    let result = catch_unwind(AssertUnwindSafe(body));
    drop(running);
    watchdog.join().expect("the watchdog only waits");
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A job under the watchdog.
pub(crate) fn run<R: Send>(
    ranks: usize,
    config: &Config,
    rank: impl Fn(&World) -> Result<R> + Sync,
) -> Vec<R> {
    let job = Job::new(ranks).config(config.clone());
    watched(move || format!("a job of {ranks} ranks"), || job.run(rank))
}

/// As [`run`], for a job whose last rank calls [`die`]; the others must end well.
pub(crate) fn run_to_death(
    ranks: usize,
    config: &Config,
    rank: impl Fn(&World) -> Result<()> + Sync,
) {
    let ended = catch_unwind(AssertUnwindSafe(|| run(ranks, config, rank)));
    let panic = ended.expect_err("the last rank dies");
    // The panic of the lowest rank is passed on, so this is the last one's only if no other failed.
    if !panic.is::<OnPurpose>() {
        resume_unwind(panic);
    }
}

/// Ends this rank as a crash would, without a word.
pub(crate) fn die() -> ! {
    resume_unwind(Box::new(OnPurpose))
}

/// Why a rank died.
struct OnPurpose;

/// Default settings, except for these.
pub(crate) fn settings(flags: &[(&str, &str)]) -> Config {
    Config::resolve(None, [], flags).expect("the settings of a test are right")
}

/// Everything as small as it can be, so that rings, credits and chunks run out all the time.
pub(crate) const TINY: &[(&str, &str)] = &[
    ("protocol.eager_limit", "64"),
    ("protocol.chunk_size", "4KiB"),
    ("protocol.chunk_window", "64KiB"),
    ("protocol.unexpected_limit", "64KiB"),
    ("protocol.pull_limit", "48"),
];

/// The settings of [`TINY`].
pub(crate) fn tiny() -> Config {
    settings(TINY)
}

/// Sleeps at once, and so long that a wake-up which is lost is a hang.
pub(crate) fn sleepy() -> Config {
    settings(&[
        ("wait.sleep", "10s"),
        ("wait.spin", "0us"),
        ("wait.yields", "0"),
    ])
}

/// `len` bytes that tell message `id` from all others.
pub(crate) fn content(id: usize, len: usize) -> Vec<u8> {
    let mut state = id as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// Lets other threads run, or not: cheap randomness from a counter.
pub(crate) fn shake(state: &mut u64) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    for _ in 0..*state % 4 {
        thread::yield_now();
    }
}
