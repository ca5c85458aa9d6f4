//! What holds for any size, any mix of sources and any slip of the keyboard.

use std::{path::Path, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        Config, Origin, parse_duration, parse_size, setting::SETTINGS, show_duration, show_size,
    },
    from_file, from_flag, from_variable, variables,
};

/// Two values that setting number `index` takes, its default not among them.
fn two_values(index: usize) -> [&'static str; 2] {
    match SETTINGS[index].key {
        "transport.same_host" => ["shm", "inproc"],
        "transport.other_hosts" => ["quic", "quic"],
        "network.interfaces" => ["eth0,ib*", "10.1.0.0/16"],
        "network.congestion" => ["bbr", "newreno"],
        "network.idle_timeout" | "network.dial_deadline" => ["1s", "1min"],
        "network.largest_packet" => ["1200B", "1452B"],
        "network.socket_buffer" => ["64KiB", "8MiB"],
        "network.tick" => ["200us", "1s"],
        "protocol.eager_limit" | "protocol.pull_limit" => ["64B", "3KiB"],
        "protocol.chunk_size" => ["4KiB", "64KiB"],
        "protocol.chunk_window" => ["1MiB", "2MiB"],
        "protocol.unexpected_limit" | "memory.arena" | "memory.pool_limit" => ["32MiB", "1GiB"],
        "wait.policy" => ["dedicated", "shared"],
        "wait.spin" => ["250ns", "25us"],
        "wait.yields" => ["0", "50"],
        "wait.sleep" | "launch.timeout" => ["1ms", "2s"],
        "launch.bind" => ["core", "core"],
        "launch.tag_output" => ["true", "true"],
        "launch.agent" => ["rsh -q", "ssh -F 'my config'"],
        "launch.remote_phalanx" => ["/opt/phalanx", "phalanx2"],
        "launch.fan_out" => ["1", "1024"],
        "checks.types" => ["false", "false"],
        key => panic!("give this test two values of {key}"),
    }
}

/// One given value: the setting's number, which of its two values, and the source (0 file, 1 variable, 2 flag).
fn given() -> impl Strategy<Value = (usize, usize, usize)> {
    (0..SETTINGS.len(), 0..2_usize, 0..3_usize)
}

/// One edit of `name`: a letter dropped, added, replaced or swapped with the one before.
fn slip(name: &str, at: usize, edit: usize, letter: char) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = at % letters.len();
    match edit {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letter),
        2 => letters[at] = letter,
        _ => letters.swap(at, at.saturating_sub(1)),
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn sizes_are_read_as_they_are_shown(number in any::<u64>(), shift in 0..64_u32) {
        let bytes = number >> shift << (shift / 2);
        prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
    }

    #[test]
    fn durations_are_read_as_they_are_shown(seconds in any::<u64>(), nanos in 0..1_000_000_000_u32, shift in 0..64_u32) {
        for duration in [Duration::new(seconds >> shift, nanos), Duration::from_nanos(seconds >> shift), Duration::from_secs(seconds)] {
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn strongest_source_wins(givens in vec(given(), 0..40)) {
        let mut sources = vec![vec![None; SETTINGS.len()]; 3];
        for (setting, value, source) in givens {
            sources[source][setting] = Some(two_values(setting)[value]);
        }
        let given_in = |source: usize| {
            let pairs = SETTINGS.iter().zip(&sources[source]);
            pairs.filter_map(|(row, value)| value.map(|value| (row, value))).collect::<Vec<_>>()
        };
        let file: String = given_in(0).iter().map(|(row, value)| format!("{} = \"{value}\"\n", row.key)).collect();
        let env: Vec<_> = given_in(1).iter().map(|(row, value)| (row.variable, *value)).collect();
        let flags: Vec<_> = given_in(2).iter().map(|(row, value)| (row.key, *value)).collect();
        let config = Config::resolve(Some((Path::new("job.toml"), &file)), variables(&env), &flags).unwrap();

        let defaults = Config::default();
        for (index, (entry, default)) in config.entries().zip(defaults.entries()).enumerate() {
            let expected = match (sources[0][index], sources[1][index], sources[2][index]) {
                (_, _, Some(value)) => (value, Origin::Flag),
                (_, Some(value), None) => (value, Origin::Variable(entry.variable)),
                (Some(value), None, None) => (value, Origin::File("job.toml".into())),
                (None, None, None) => (default.value.as_str(), Origin::Default),
            };
            prop_assert_eq!((entry.value.as_str(), entry.origin.clone()), expected);
        }
    }

    #[test]
    fn one_slip_in_a_name_is_caught_and_put_right(
        index in 0..SETTINGS.len(), at in any::<usize>(), edit in 0..4_usize, letter in prop::char::range('a', 'z'),
    ) {
        let row = &SETTINGS[index];
        let (key, variable) = (slip(row.key, at, edit, letter), slip(&row.variable[8..], at, edit, letter.to_ascii_uppercase()));
        if key == row.key || variable == row.variable[8..] {
            return Ok(()); // two equal letters were swapped, or one replaced by itself
        }
        let variable = format!("PHALANX_{variable}");
        let [first, _] = two_values(index);

        let error = from_variable(&variable, first).unwrap_err();
        prop_assert!(error.starts_with(&format!("{variable} is not a setting; did you mean ")) && error.contains(row.variable), "{error}");
        let error = from_flag(&key, first).unwrap_err();
        prop_assert_eq!(error, format!("flag {key} is not a setting; did you mean {}?", row.key));
        // A dot at an end is no key of a file.
        if !key.starts_with('.') && !key.ends_with('.') && !key.contains("..") {
            let error = from_file(&format!("{key} = \"{first}\"")).unwrap_err();
            prop_assert_eq!(error, format!("job.toml:1: {key} is not a setting; did you mean {}?", row.key));
        }
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]a-z.= \"'\n#0-9µ\u{1f600}-]{0,60}", value in ".{0,20}") {
        let _ = from_file(&text);
        for row in SETTINGS {
            let _ = from_variable(row.variable, &value);
        }
    }
}
