//! What it costs that a thousand ranks learn of each other: every frame of a whole job, carried by hand in one thread.

#[path = "../../wireup/tests/exchange/simulation.rs"]
mod simulation;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Each rank puts its card, passes a fence, fetches the cards of its neighbours in a dissemination, and leaves.
fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("put, fence and get of all ranks");
    group.sample_size(10);
    for (hosts, each) in [(4, 16), (64, 16)] {
        let ranks = hosts * each;
        group.bench_function(BenchmarkId::from_parameter(ranks), |bencher| {
            bencher.iter(|| black_box(simulation::whole_job(hosts, each).traffic));
        });
    }
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
