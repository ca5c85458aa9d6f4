//! What every call pays for threads being allowed to share a communicator, though only one uses it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use phalanx::{ANY_SOURCE, ANY_TAG, testing};

fn entering(criterion: &mut Criterion) {
    criterion.bench_function("look for a message that is not there", |bencher| {
        let bencher = parking_lot::Mutex::new(bencher);
        testing::run(2, |world| {
            if world.rank() == 0 {
                bencher
                    .lock()
                    .iter(|| black_box(world.iprobe(ANY_SOURCE, ANY_TAG)).is_ok());
                world.send(1, 0, &[] as &[u8])
            } else {
                world.recv_into::<u8>(0, 0, &mut []).map(drop)
            }
        });
    });
    criterion.bench_function("send and receive by one thread", |bencher| {
        let bencher = parking_lot::Mutex::new(bencher);
        testing::run(1, |world| {
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

criterion_group!(benches, entering);
criterion_main!(benches);
