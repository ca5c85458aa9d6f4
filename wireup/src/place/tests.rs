//! What a process concludes from its environment.

use super::*;

fn discover(variables: &[(&str, &str)]) -> Result<Place, PlaceError> {
    Place::discover(|name| {
        let found = variables.iter().find(|(key, _)| *key == name)?;
        Some(found.1.to_owned())
    })
}

#[test]
fn no_variables_are_a_world_of_one() {
    assert_eq!(discover(&[]), Ok(Place::alone()));
}

#[test]
fn what_a_launcher_writes_is_what_a_rank_reads() {
    for segment in [
        SegmentSource::Inherited(7),
        SegmentSource::Named("/job:1".to_owned()),
    ] {
        let place = Place::new(3, 4, segment)
            .with_job([0x0f; 16])
            .with_reached("fd00::7".parse().unwrap());
        let variables = place.variables();
        let borrowed: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(discover(&borrowed), Ok(place));
    }
}

#[test]
fn what_a_launcher_leaves_empty_hides_what_was_set_before() {
    let outer = [(JOB, "0f".repeat(16)), (REACHED, "192.0.2.7".to_owned())];
    let inner = Place::new(3, 4, SegmentSource::Inherited(7));
    let mut variables = outer.to_vec();
    for (name, value) in inner.variables() {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    let borrowed: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(discover(&borrowed), Ok(inner));
}

#[test]
fn a_job_without_32_digits_and_an_address_that_is_none_are_named() {
    fn with(name: &str, value: &str) -> Result<Place, PlaceError> {
        discover(&[(RANK, "0"), (SIZE, "1"), (name, value)])
    }
    for value in [
        "0f",
        "xyz",
        &"g".repeat(32),
        &"0".repeat(33),
        &format!("+{}", "0".repeat(31)),
    ] {
        let error = PlaceError::BadJob {
            value: value.to_owned(),
        };
        assert_eq!(with(JOB, value), Err(error));
    }
    for value in ["localhost", "10.0.0", "[::1]", "10.0.0.1:80"] {
        let error = PlaceError::BadAddress {
            value: value.to_owned(),
        };
        assert_eq!(with(REACHED, value), Err(error));
    }
}

#[test]
fn a_single_rank_needs_no_segment() {
    assert_eq!(discover(&[(RANK, "0"), (SIZE, "1")]), Ok(Place::alone()));
}

#[test]
fn half_a_set_of_variables_is_an_error_that_names_the_other_half() {
    for (present, missing) in [(RANK, SIZE), (SIZE, RANK), (SEGMENT, RANK)] {
        let error = discover(&[(present, "1")]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{present}=1")) && error.contains(missing),
            "{error}"
        );
    }
}

#[test]
fn garbage_is_named_with_its_variable() {
    for garbage in ["", "-1", "two", "1 ", "0x1", "1.0", "99999999999999999999"] {
        let error = discover(&[(RANK, garbage), (SIZE, "4")]).unwrap_err();
        assert_eq!(
            error,
            PlaceError::NotANumber {
                variable: RANK,
                value: garbage.to_owned()
            }
        );
        let error = discover(&[(RANK, "0"), (SIZE, garbage)]).unwrap_err();
        assert_eq!(
            error,
            PlaceError::NotANumber {
                variable: SIZE,
                value: garbage.to_owned()
            }
        );
    }
}

#[test]
fn a_rank_beyond_the_size_is_an_error() {
    for (rank, size) in [(4, 4), (5, 4), (0, 0)] {
        let (rank_text, size_text) = (rank.to_string(), size.to_string());
        let error = discover(&[(RANK, &rank_text), (SIZE, &size_text)]);
        assert_eq!(error, Err(PlaceError::OutOfRange { rank, size }));
    }
}

#[test]
fn many_ranks_without_a_segment_are_an_error() {
    assert_eq!(
        discover(&[(RANK, "0"), (SIZE, "2")]),
        Err(PlaceError::NoSegment { size: 2 })
    );
}

#[test]
fn a_malformed_segment_is_an_error() {
    for value in ["", "3", "fd:", "fd:-1", "fd:x", "name:", "file:/tmp/x"] {
        let error = discover(&[(RANK, "0"), (SIZE, "2"), (SEGMENT, value)]);
        assert_eq!(
            error,
            Err(PlaceError::BadSegment {
                value: value.to_owned()
            })
        );
    }
}

#[test]
fn variables_of_phalanx_win_over_a_foreign_launcher() {
    let foreign = [("PMI_RANK", "1"), ("PMI_SIZE", "4")];
    assert!(matches!(discover(&foreign), Err(PlaceError::Foreign(_))));
    let ours = [foreign[0], foreign[1], (RANK, "0"), (SIZE, "1")];
    assert_eq!(discover(&ours), Ok(Place::alone()));
}

const MEETING: [(&str, &str); 2] = [(RENDEZVOUS, "node01:7000"), (TOKEN_FILE, "/run/token")];

fn meeting() -> WireupSource {
    WireupSource::Rendezvous {
        address: "node01:7000".to_owned(),
        token_file: "/run/token".into(),
    }
}

#[test]
fn a_wire_up_that_a_launcher_writes_is_what_a_rank_reads() {
    for wireup in [WireupSource::Inherited(9), meeting()] {
        let place = Place::new(3, 4, SegmentSource::Inherited(7)).with_wireup(wireup);
        let variables = place.variables();
        let borrowed: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(discover(&borrowed), Ok(place));
    }
}

#[test]
fn ranks_that_have_a_rendezvous_need_no_segment() {
    let place = discover(&[(RANK, "1"), (SIZE, "2"), MEETING[0], MEETING[1]]).unwrap();
    assert_eq!((place.segment, place.wireup), (None, Some(meeting())));
}

#[test]
fn a_launcher_hides_the_rendezvous_of_an_outer_job() {
    let place = Place::new(0, 2, SegmentSource::Inherited(3));
    let variables = place.variables();
    let found = Place::discover(|name| {
        let mine = variables.iter().find(|(key, _)| *key == name);
        let outer = MEETING.iter().find(|(key, _)| *key == name);
        mine.map(|(_, value)| value.clone())
            .or_else(|| outer.map(|(_, value)| (*value).to_owned()))
    });
    assert_eq!(found, Ok(place));
}

#[test]
fn half_a_rendezvous_is_an_error_that_names_the_other_half() {
    let numbers = [(RANK, "0"), (SIZE, "2")];
    for (present, missing) in [(MEETING[0], TOKEN_FILE), (MEETING[1], RENDEZVOUS)] {
        let error = discover(&[numbers[0], numbers[1], present]).unwrap_err();
        let expected = PlaceError::incomplete(present.0, present.1.to_owned(), missing);
        assert_eq!(error, expected);
    }
    assert_eq!(
        discover(&MEETING),
        Err(PlaceError::incomplete(
            RENDEZVOUS,
            "node01:7000".to_owned(),
            RANK
        ))
    );
}

#[test]
fn a_malformed_rendezvous_is_an_error() {
    for value in [
        "node01",
        ":7000",
        "node01:",
        "node01:0",
        "node01:65536",
        "node01:http",
        "fd:",
        "fd:-1",
        "fe80::1:7000",
    ] {
        let error = discover(&[(RANK, "0"), (SIZE, "2"), (RENDEZVOUS, value), MEETING[1]]);
        let value = value.to_owned();
        assert_eq!(error, Err(PlaceError::BadRendezvous { value }));
    }
    let bracketed = [
        (RANK, "0"),
        (SIZE, "2"),
        (RENDEZVOUS, "[fe80::1]:7000"),
        MEETING[1],
    ];
    assert!(discover(&bracketed).is_ok());
}

#[test]
fn slurm_numbers_the_ranks_where_a_rendezvous_is_given() {
    let srun = [("SLURM_PROCID", "5"), ("SLURM_STEP_NUM_TASKS", "8")];
    let place = discover(&[srun[0], srun[1], MEETING[0], MEETING[1]]).unwrap();
    assert_eq!((place.rank, place.size), (5, 8));
    assert_eq!(place.wireup, Some(meeting()));
    assert!(matches!(discover(&srun), Err(PlaceError::Foreign(_))));
}

#[test]
fn variables_of_phalanx_win_over_those_of_slurm() {
    let variables = [
        ("SLURM_PROCID", "5"),
        ("SLURM_STEP_NUM_TASKS", "8"),
        (RANK, "1"),
        (SIZE, "2"),
        MEETING[0],
        MEETING[1],
    ];
    let place = discover(&variables).unwrap();
    assert_eq!((place.rank, place.size), (1, 2));
}

#[test]
fn a_batch_script_of_slurm_does_not_join_a_rendezvous() {
    let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "64")];
    let error = discover(&[script[0], script[1], MEETING[0], MEETING[1]]).unwrap_err();
    assert!(
        matches!(error, PlaceError::Incomplete { missing: RANK, .. }),
        "{error}"
    );
}

#[test]
fn another_launcher_with_a_rendezvous_is_still_foreign() {
    let error = discover(&[("PMI_RANK", "1"), ("PMI_SIZE", "4"), MEETING[0], MEETING[1]]);
    assert!(matches!(error, Err(PlaceError::Foreign(_))));
}
