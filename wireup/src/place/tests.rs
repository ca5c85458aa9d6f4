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
        let place = Place::new(3, 4, segment);
        let variables = place.variables();
        let borrowed: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(discover(&borrowed), Ok(place));
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
