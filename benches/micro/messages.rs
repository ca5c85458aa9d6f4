//! What it costs to make a value a message, and to check one that came, for payloads of several kinds.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use phalanx::Message;

/// A value with everything in it.
#[derive(Message)]
struct Step {
    id: u64,
    cells: Vec<f32>,
    notes: Vec<String>,
    weights: HashMap<u32, f64>,
}

fn step() -> Step {
    Step {
        id: 1,
        cells: vec![0.5; 256],
        notes: (0..16).map(|note| format!("note number {note}")).collect(),
        weights: (0..16).map(|key| (key, f64::from(key))).collect(),
    }
}

fn archive<T: Message>(criterion: &mut Criterion, name: &str, value: &T) {
    // 16-byte aligned, as the memory of messages is.
    let mut buffer = vec![0_u128; 1 << 14];
    let mut group = criterion.benchmark_group(name);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut buffer);
    group.bench_function("archive", |bencher| {
        bencher.iter(|| black_box(value).archive_into(bytes).expect("room enough"));
    });
    let size = value.archive_into(bytes).expect("room enough");
    group.bench_function("view", |bencher| {
        bencher.iter(|| {
            black_box(T::view(black_box(&bytes[..size])).expect("an archive of this type"));
        });
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    archive(criterion, "4096 numbers", &vec![1.5_f64; 4096]);
    let strings: Vec<String> = (0..256).map(|line| format!("line number {line}")).collect();
    archive(criterion, "256 strings", &strings);
    archive(criterion, "a nested value", &step());
}

criterion_group!(benches, messages);
criterion_main!(benches);
