//! What a receive costs when many messages wait that it does not want. It must not grow with their number.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use phalanx::testing;

/// Messages to oneself, so that nothing but matching is between send and receive.
fn unexpected(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send and receive with messages waiting");
    for waiting in [10, 1_000, 100_000] {
        group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
            // A thread of the job cannot borrow the bencher of this one, so it is handed over whole.
            let bencher = parking_lot::Mutex::new(bencher);
            testing::run(1, |world| {
                for tag in 1..=waiting {
                    world.send(0, tag, &[0_u8; 8][..])?;
                }
                let mut buffer = [0_u8; 8];
                bencher.lock().iter(|| {
                    world
                        .send(0, 0, black_box(&[1_u8; 8][..]))
                        .expect("to oneself");
                    world.recv_into(0, 0, &mut buffer).expect("from oneself");
                    black_box(&buffer);
                });
                Ok(())
            });
        });
    }
    group.finish();
}

/// Receives that wait, for tags that never come.
fn posted(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send and receive with receives posted");
    for posted in [10, 10_000] {
        group.bench_function(BenchmarkId::from_parameter(posted), |bencher| {
            let bencher = parking_lot::Mutex::new(bencher);
            testing::run(1, |world| {
                let receives: Result<Vec<_>, _> = (1..=posted)
                    .map(|tag| world.irecv::<[u8]>(0, tag))
                    .collect();
                let receives = receives?;
                let mut buffer = [0_u8; 8];
                bencher.lock().iter(|| {
                    world
                        .send(0, 0, black_box(&[1_u8; 8][..]))
                        .expect("to oneself");
                    world.recv_into(0, 0, &mut buffer).expect("from oneself");
                    black_box(&buffer);
                });
                drop(receives);
                Ok(())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, unexpected, posted);
criterion_main!(benches);
