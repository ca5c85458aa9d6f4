//! What it costs that a thousand ranks learn of each other: every frame of a whole job, carried by hand in one thread. The memory of all
//! ranks and agents together is printed before the times.

#[path = "../../wireup/tests/exchange/simulation.rs"]
mod simulation;

use std::fs;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Each rank puts its card, passes a fence, fetches the cards of its neighbours in a dissemination, and leaves.
fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("put, fence and get");
    group.sample_size(10);
    for (hosts, each) in [(4, 16), (64, 16)] {
        let name = format!("{} ranks on {hosts} hosts", hosts * each);
        let before = resident_kibibytes();
        let job = simulation::whole_job(hosts, each);
        let grown = resident_kibibytes().saturating_sub(before);
        let simulation::Traffic {
            frames,
            bytes,
            longest,
        } = job.traffic;
        eprintln!(
            "{name}: {frames} frames of {bytes} B together, the longest of {longest} B; {grown} KiB of memory"
        );
        drop(job);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(simulation::whole_job(hosts, each).traffic));
        });
    }
    group.finish();
}

/// What this process has in memory; 0 where the system does not tell.
fn resident_kibibytes() -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

criterion_group!(benches, exchange);
criterion_main!(benches);
