//! Typed messages between processes, and what becomes of those that are not what the receiver expects.

use std::collections::HashMap;

use phalanx::{Error, Message, Result, World};

use crate::harness;

#[derive(Clone, Debug, Message, PartialEq)]
struct Particle {
    id: u64,
    position: [f64; 3],
    name: String,
    neighbours: Vec<u32>,
    charge: Option<i8>,
}

#[derive(Debug, Message)]
struct Cloud {
    particles: Vec<Particle>,
    totals: HashMap<String, f64>,
}

#[derive(Debug, Message)]
struct Step {
    number: u32,
}

#[test]
fn nested_values_arrive_as_they_were_sent() {
    harness::succeed(2, ranks::nested_values);
}

#[test]
fn a_message_of_another_type_names_both_types_and_stays() {
    harness::succeed(2, ranks::another_type);
}

#[test]
fn a_message_that_is_too_long_names_both_sizes_and_stays() {
    harness::succeed(2, ranks::too_long);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn nested_values() {
        harness::rank(|world| {
            for count in [0, 1, 10, 10_000] {
                exchange_cloud(world, count)?;
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn another_type() {
        harness::rank(|world| {
            if world.rank() == 0 {
                world.send(1, 5, &Step { number: 7 })?;
                return world.send(1, 6, &[1_u8, 2][..]);
            }
            match world.recv::<Cloud>(0, 5) {
                Err(Error::TypeMismatch(mismatch)) => {
                    assert_eq!((mismatch.from, mismatch.tag), (0, 5));
                    assert!(mismatch.sent.contains("Step"), "{mismatch}");
                    assert!(mismatch.expected.contains("Cloud"), "{mismatch}");
                }
                other => panic!("{other:?}"),
            }
            let mut wrong = [0_u64; 4];
            let error = world.recv_into(0, 6, &mut wrong).unwrap_err();
            assert!(matches!(error, Error::TypeMismatch(_)), "{error}");
            assert_eq!(world.recv::<Step>(0, 5)?.number, 7);
            assert_eq!(*world.recv::<[u8]>(0, 6)?, [1, 2]);
            Ok(())
        });
    }

    #[test]
    pub(super) fn too_long() {
        harness::rank(|world| {
            for len in [2, 200, 200_000] {
                if world.rank() == 0 {
                    world.send(1, 9, &vec![3_u32; len][..])?;
                    continue;
                }
                let mut short = vec![0_u32; len - 1];
                match world.recv_into(0, 9, &mut short) {
                    Err(Error::Truncated(truncated)) => {
                        assert_eq!((truncated.from, truncated.tag), (0, 9));
                        assert_eq!(truncated.sent, 4 * len as u64);
                        assert_eq!(truncated.capacity, 4 * (len - 1));
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(short, vec![0; len - 1], "nothing of it was written");
                assert_eq!(*world.recv::<[u32]>(0, 9)?, vec![3; len]);
            }
            Ok(())
        });
    }
}

fn exchange_cloud(world: &World, count: u64) -> Result<()> {
    if world.rank() == 0 {
        let particles = (0..count).map(particle).collect();
        let totals = HashMap::from([("mass".to_owned(), 1.5), ("count".to_owned(), count as f64)]);
        return world.send(1, 4, &Cloud { particles, totals });
    }
    let cloud = world.recv::<Cloud>(0, 4)?;
    assert_eq!(cloud.particles.len() as u64, count);
    if let Some(last) = cloud.particles.last() {
        assert_eq!(last.name.as_str(), format!("particle {}", count - 1));
    }
    let cloud = cloud.to_owned();
    assert!(cloud.particles.into_iter().eq((0..count).map(particle)));
    assert_eq!(cloud.totals["mass"], 1.5);
    assert_eq!(cloud.totals["count"], count as f64);
    Ok(())
}

fn particle(id: u64) -> Particle {
    Particle {
        id,
        position: [id as f64, 0.5, -1.0],
        name: format!("particle {id}"),
        neighbours: (0..id as u32 % 5).collect(),
        charge: id.is_multiple_of(2).then_some(-1),
    }
}
