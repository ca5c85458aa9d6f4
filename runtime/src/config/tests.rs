//! Tests of the settings: the list, its document, the texts, the sources and the errors.

mod properties;

use std::{
    ffi::OsString,
    fmt::Write,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use super::{
    Binding, Config, Congestion, Origin, OtherHosts, Problem, SameHost, WaitPolicy, parse_duration,
    parse_size,
    resolve::WIRING,
    setting::{SETTINGS, position},
};

const DOCUMENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/configuration.md"
));

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn from_file(text: &str) -> Result<Config, String> {
    Config::resolve(Some((Path::new("job.toml"), text)), [], &[]).map_err(|error| error.to_string())
}

fn from_variable(name: &str, value: &str) -> Result<Config, String> {
    Config::resolve(None, variables(&[(name, value)]), &[]).map_err(|error| error.to_string())
}

fn from_flag(key: &str, value: &str) -> Result<Config, String> {
    Config::resolve(None, [], &[(key, value)]).map_err(|error| error.to_string())
}

#[test]
fn every_default_is_a_value_its_setting_takes() {
    let config = Config::default();
    for entry in config.entries() {
        let again = from_flag(entry.key, &entry.value).expect("the default is allowed");
        assert_eq!(again.values, config.values, "{}", entry.key);
    }
}

#[test]
fn keys_and_variables_are_unique_and_well_formed() {
    for (index, row) in SETTINGS.iter().enumerate() {
        assert_eq!(position(row.key), Some(index));
        assert_eq!(row.key.matches('.').count(), 1, "{}", row.key);
        assert!(row.variable.starts_with("PHALANX_") && !WIRING.contains(&row.variable));
        assert!(
            SETTINGS[..index]
                .iter()
                .all(|other| other.variable != row.variable)
        );
    }
}

#[test]
fn document_has_the_table_of_the_list() {
    let defaults = Config::default();
    let mut table = String::new();
    for (row, entry) in SETTINGS.iter().zip(defaults.entries()) {
        let (taken, default) = (row.field.expected(), entry.value);
        writeln!(
            table,
            "| `{}` | `{}` | {taken} | {default} | {} |",
            row.key, row.variable, row.meaning
        )
        .unwrap();
    }
    let documented: String = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(
        documented == table,
        "docs/configuration.md needs this table:\n{table}"
    );
}

#[test]
fn documented_file_is_read_and_shows_every_section() {
    let (_, rest) = DOCUMENT
        .split_once("```toml\n")
        .expect("the document has an example");
    let (example, _) = rest.split_once("```").expect("the example ends");
    let config = from_file(example).unwrap();
    for row in SETTINGS {
        let section = row.key.split_once('.').unwrap().0;
        assert!(
            example.contains(&format!("[{section}]")),
            "{section} is not in the example"
        );
    }
    assert!(
        config
            .entries()
            .any(|entry| *entry.origin == Origin::File("job.toml".into()))
    );
}

#[test]
fn sources_reach_the_typed_values() {
    let file = "[transport]\nsame_host = 'inproc'\n[network]\nlargest_packet = 1452\ntick = '2ms'\n[protocol]\neager_limit = 0x1000\nchunk_window = '2M'\n\
                [wait]\nyields = 50\n[launch]\nbind = 'core'\n[checks]\ntypes = false\n";
    let env = variables(&[
        ("HOME", "/root"),
        ("PHALANX_RANK", "3"),
        ("PHALANX_WAIT", " shared\n"),
        ("PHALANX_SPIN", "25us"),
        ("PHALANX_JOB", "00112233445566778899aabbccddeeff"),
        ("PHALANX_REACHED", "192.0.2.7"),
        ("PHALANX_INTERFACES", "ib*, 10.1.0.0/16"),
        ("PHALANX_CONGESTION", "bbr"),
    ]);
    let flags = [
        ("launch.timeout", "60"),
        ("launch.tag_output", "true"),
        ("transport.other_hosts", "quic"),
    ];
    let config = Config::resolve(Some((Path::new("job.toml"), file)), env, &flags).unwrap();
    assert_eq!(
        (config.transport().same_host, config.transport().other_hosts),
        (SameHost::Inproc, OtherHosts::Quic)
    );
    let network = config.network();
    let selection = network.interfaces.as_ref().map(ToString::to_string);
    assert_eq!(selection.as_deref(), Some("ib*,10.1.0.0/16"));
    assert_eq!(
        (network.congestion, network.largest_packet, network.tick),
        (Congestion::Bbr, Some(1452), Duration::from_millis(2))
    );
    assert_eq!(
        (
            config.protocol().eager_limit,
            config.protocol().chunk_window
        ),
        (4096, 2 << 20)
    );
    assert_eq!(
        (config.wait().policy, config.wait().yields),
        (WaitPolicy::Shared, Some(50))
    );
    assert_eq!(config.wait().spin, Some(Duration::from_micros(25)));
    assert_eq!(
        (config.launch().bind, config.launch().tag_output),
        (Binding::Core, true)
    );
    assert_eq!(config.launch().timeout, Some(Duration::from_secs(60)));
    assert!(!config.checks().types);
    assert_eq!(
        config.origin("checks.types"),
        Some(&Origin::File("job.toml".into()))
    );
    assert_eq!(
        config.origin("wait.spin"),
        Some(&Origin::Variable("PHALANX_SPIN"))
    );
    assert_eq!(config.origin("launch.timeout"), Some(&Origin::Flag));
    assert_eq!(config.origin("memory.arena"), Some(&Origin::Default));
    assert_eq!(config.origin("memory.area"), None);
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let cases = [
        (
            from_variable("PHALANX_EAGER_LIMT", "1K"),
            "PHALANX_EAGER_LIMT is not a setting; did you mean PHALANX_EAGER_LIMIT?",
        ),
        (
            from_variable("PHALANX_RNAK", "0"),
            "PHALANX_RNAK is not a setting; did you mean PHALANX_RANK?",
        ),
        (
            from_variable("PHALANX_POLL_LIMIT", "1K"),
            "PHALANX_POLL_LIMIT is not a setting; did you mean PHALANX_PULL_LIMIT or PHALANX_POOL_LIMIT?",
        ),
        (
            from_variable("PHALANX_COLOUR", "1"),
            "PHALANX_COLOUR is not a setting; `phalanx info` lists all settings",
        ),
        (
            from_flag("launch.bnid", "core"),
            "flag launch.bnid is not a setting; did you mean launch.bind?",
        ),
        (
            from_file("# one\n[wait]\npolcy = 'auto'\n"),
            "job.toml:3: wait.polcy is not a setting; did you mean wait.policy?",
        ),
        (
            from_file("[protocl]\neager_limit = 1024\n"),
            "job.toml:2: protocl.eager_limit is not a setting; did you mean protocol.eager_limit?",
        ),
        (
            from_file("wait.bind = 'core'"),
            "job.toml:1: wait.bind is not a setting; did you mean launch.bind?",
        ),
        (
            from_file("\"wait.policy\" = 'auto'"),
            "job.toml:1: \"wait.policy\" is not a setting; did you mean wait.policy?",
        ),
        (
            from_file("\"a\\nb\" = 1"),
            "job.toml:1: \"a\\nb\" is not a setting; `phalanx info` lists all settings",
        ),
        (
            from_file("[colour]\n"),
            "job.toml:1: colour is not a setting; `phalanx info` lists all settings",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err(), message);
    }
}

#[test]
fn wrong_values_say_what_is_expected() {
    let cases = [
        (
            from_variable("PHALANX_WAIT", "dedicate"),
            "PHALANX_WAIT: expected auto, dedicated or shared, found `dedicate`; did you mean dedicated?",
        ),
        (
            from_variable("PHALANX_WAIT", ""),
            "PHALANX_WAIT: expected auto, dedicated or shared, found ``",
        ),
        (
            from_variable("PHALANX_EAGER_LIMIT", "16KB"),
            "PHALANX_EAGER_LIMIT: expected a size from 48B to 1MiB, found `16KB`",
        ),
        (
            from_variable("PHALANX_EAGER_LIMIT", "47"),
            "PHALANX_EAGER_LIMIT: expected a size from 48B to 1MiB, found `47`",
        ),
        (
            from_variable("PHALANX_CHUNK_SIZE", "5K"),
            "PHALANX_CHUNK_SIZE: expected a size from 4KiB to 1MiB that is a power of two, found `5K`",
        ),
        (
            from_variable("PHALANX_YIELDS", "-1"),
            "PHALANX_YIELDS: expected auto or a count from 0 to 1000000, found `-1`",
        ),
        (
            from_flag("wait.spin", "1s"),
            "flag wait.spin: expected auto or a duration from 0ns to 100ms, found `1s`",
        ),
        (
            from_flag("memory.arena", "atuo"),
            "flag memory.arena: expected auto or a size from 4MiB to 1TiB, found `atuo`; did you mean auto?",
        ),
        (
            from_file("[protocol]\neager_limit = 1.5"),
            "job.toml:2: protocol.eager_limit: expected a size from 48B to 1MiB, found `1.5`",
        ),
        (
            from_file("[checks]\ntypes = 'on'"),
            "job.toml:2: checks.types: expected true or false, found `on`",
        ),
        (
            from_file("[wait]\npolicy = ['auto']"),
            "job.toml:2: wait.policy: expected auto, dedicated or shared, found a value of type array",
        ),
        (
            from_file("[wait.policy]\nkind = 'auto'"),
            "job.toml:1: wait.policy: expected auto, dedicated or shared, found a value of type table",
        ),
        (
            from_file("wait = 'auto'"),
            "job.toml:1: wait: expected a table of settings, found a value of type string",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err(), message);
    }
}

#[test]
fn wrong_values_of_a_network_say_what_is_expected() {
    let cases = [
        (
            from_variable("PHALANX_TRANSPORT", "quick"),
            "PHALANX_TRANSPORT: expected auto, shm, quic or inproc, found `quick`; did you mean quic?",
        ),
        (
            from_variable("PHALANX_INTERFACES", "eth0,10.1.0.0/33"),
            "PHALANX_INTERFACES: expected auto or names, beginnings of names, addresses and networks such as \
             eth0,ib*,10.1.0.0/16, found `eth0,10.1.0.0/33`",
        ),
        (
            from_flag("network.largest_packet", "1199"),
            "flag network.largest_packet: expected auto or a size from 1200B to 65507B, found `1199`",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err(), message);
    }
}

#[test]
fn window_below_a_chunk_is_refused() {
    let error = from_file("[protocol]\nchunk_size = '1MiB'\nchunk_window = '64KiB'").unwrap_err();
    assert!(
        error.contains("protocol.chunk_window (64KiB)") && error.contains("(1MiB)"),
        "{error}"
    );
}

#[test]
fn text_that_is_not_toml_is_named_by_line() {
    let error = from_file("[wait]\npolicy = auto\n").unwrap_err();
    assert!(error.starts_with("job.toml:2: "), "{error}");
    let error = from_file("[wait]\npolicy = 'auto'\npolicy = 'auto'\n").unwrap_err();
    assert!(error.starts_with("job.toml:3: "), "{error}");
}

#[test]
fn value_that_is_not_text_names_its_variable() {
    let path = OsString::from_vec(vec![0xff]);
    let env = [
        ("PHALANX_CONFIG".into(), path.clone()),
        ("PHALANX_BIND".into(), path),
    ];
    let error = Config::resolve(None, env, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value of PHALANX_BIND is not valid UTF-8; set it to none or core"
    );
}

#[test]
fn problems_of_all_sources_come_together_and_by_line() {
    let file = "[wait]\nslep = '1ms'\npolicy = 'lazy'\n[launch]\nbind = 1\n";
    let error = Config::resolve(
        Some((Path::new("job.toml"), file)),
        variables(&[("PHALANX_SPIN", "long"), ("PHALANX_WAIT", "shared")]),
        &[("launch.bindd", "core")],
    )
    .unwrap_err();
    let text = error.to_string();
    let starts = [
        "job.toml:2: ",
        "job.toml:3: ",
        "job.toml:5: ",
        "PHALANX_SPIN: ",
        "flag launch.bindd ",
    ];
    assert_eq!(
        (error.problems().len(), text.lines().count()),
        (starts.len(), starts.len())
    );
    for (line, start) in text.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn unreadable_file_is_an_error() {
    let path = Path::new("/nonexistent/phalanx.toml");
    let error = Config::load(Some(path), &[]).unwrap_err();
    assert!(
        matches!(&error.problems()[0], Problem::Unreadable { path: named, .. } if named == path)
    );
}

/// Starts itself with an environment of its own, since a test may not change that of its process.
#[test]
fn environment_names_the_file_and_overrides_it() {
    const MARK: &str = "CONFIG_TEST_FILE";
    if let Some(file) = std::env::var_os(MARK) {
        let config = Config::from_environment().unwrap();
        assert_eq!(
            config.origin("wait.policy"),
            Some(&Origin::File(PathBuf::from(file)))
        );
        assert_eq!(
            config.origin("launch.bind"),
            Some(&Origin::Variable("PHALANX_BIND"))
        );
        return;
    }
    let file = std::env::temp_dir().join(format!("phalanx-config-{}.toml", process::id()));
    fs::write(&file, "wait.policy = 'shared'\nlaunch.bind = 'none'\n").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "config::tests::environment_names_the_file_and_overrides_it",
        ])
        .envs([
            (MARK, file.as_os_str()),
            ("PHALANX_CONFIG", file.as_os_str()),
        ])
        .env("PHALANX_BIND", "core")
        .output();
    fs::remove_file(&file).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn sizes_and_durations_take_the_usual_units() {
    for text in ["16384", "16384B", "16K", "16k", "16KiB", "16 KiB"] {
        assert_eq!(parse_size(text), Ok(16384), "{text}");
    }
    for text in [
        "",
        "K",
        "-1",
        "+1",
        "1.5K",
        "1KB",
        "1e3",
        "16777216TiB",
        "99999999999999999999999999999999999999999",
    ] {
        assert!(parse_size(text).is_err(), "{text}");
    }
    for text in ["60", "60s", "1min", "60000ms"] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(60)), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "1m", "1 day"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}
