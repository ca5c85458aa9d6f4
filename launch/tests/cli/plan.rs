//! `phalanx info --plan`: what would carry the messages of a job, and why.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::finish;

fn plan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command
        .args(["info", "--plan"])
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn report(mut command: Command) -> (i32, Value) {
    command.arg("--json");
    let (code, stdout, stderr) = finish(command);
    assert_eq!(stderr, "");
    (code, serde_json::from_str(&stdout).unwrap())
}

fn class<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let classes = plan["classes"].as_array().unwrap();
    classes.iter().find(|one| one["class"] == name).unwrap()
}

#[test]
fn each_pair_has_the_link_of_its_distance() {
    let (code, plan) = report(plan(&["--host", "a:2,b"]));
    assert_eq!((code, &plan["refused"]), (0, &Value::Null));
    assert_eq!(
        plan["hosts"],
        json!([{"host": "a", "ranks": [0, 1]}, {"host": "b", "ranks": [2]}])
    );
    let links: Vec<_> = plan["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            let place = (pair["from"].as_u64().unwrap(), pair["to"].as_u64().unwrap());
            (place, pair["link"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ((0, 0), "itself"),
        ((0, 1), "shm"),
        ((0, 2), "quic"),
        ((1, 0), "shm"),
        ((1, 1), "itself"),
        ((1, 2), "quic"),
        ((2, 0), "quic"),
        ((2, 1), "quic"),
        ((2, 2), "itself"),
    ];
    assert_eq!(links, expected);
    for (name, pairs) in [("same-rank", 3), ("same-host", 2), ("other-host", 4)] {
        assert_eq!(class(&plan, name)["pairs"], pairs, "{name}");
    }
}

#[test]
fn every_decision_has_its_reason() {
    let mut command = plan(&["--host", "a:2,b"]);
    command.env("PHALANX_EAGER_LIMIT", "8KiB");
    let (_, plan) = report(command);
    let quic = class(&plan, "other-host");
    assert_eq!(
        quic["because"],
        json!({"setting": "transport.other_hosts", "value": "auto", "origin": "default"})
    );
    let eager = json!({"setting": "protocol.eager_limit", "value": "8KiB", "origin": "PHALANX_EAGER_LIMIT"});
    let ways = |class: &Value| -> Vec<String> {
        let thresholds = class["thresholds"].as_array().unwrap();
        let ways = thresholds.iter().map(|one| one["way"].as_str().unwrap());
        ways.map(str::to_owned).collect()
    };
    assert_eq!(ways(quic), ["inline", "eager"]);
    assert_eq!(quic["thresholds"][1]["because"], eager);
    assert_eq!(quic["thresholds"][1]["up_to_bytes"], 8192);
    assert_eq!(
        ways(class(&plan, "same-host")),
        ["inline", "eager", "pulled"]
    );
}

#[test]
fn over_quic_nothing_is_handed_over_or_pulled() {
    let mut command = plan(&["-n", "2"]);
    command.env("PHALANX_TRANSPORT", "quic");
    let (_, plan) = report(command);
    let class = class(&plan, "same-host");
    assert_eq!(
        (&class["link"], &class["because"]["origin"]),
        (&json!("quic"), &json!("PHALANX_TRANSPORT"))
    );
    let rows = class["send"].as_array().unwrap();
    let last = rows.last().unwrap();
    assert_eq!((&last["slice"], rows.len()), (&json!("chunked"), 3));
    for row in rows {
        assert_eq!(row["loan_or_archive"], row["slice"], "{row}");
        assert_eq!(row["shared_vector"], row["slice"], "{row}");
    }
}

#[test]
fn the_text_says_it_in_words() {
    let (code, stdout, stderr) = finish(plan(&["--host", "a:2,b"]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in [
        "plan of 3 ranks on 2 hosts",
        "  a: ranks 0-1",
        "     1     shm  itself    quic",
        "Ranks of one host over shm (2 ordered pairs)",
        "  because transport.same_host is auto (from default), which takes shm",
        "  49B to 16KiB            eager       eager           eager",
        "  eager up to 16KiB: protocol.eager_limit (from default)",
        "  pulled from 1KiB: protocol.pull_limit (from default)",
    ] {
        assert!(
            stdout.lines().any(|one| one == line),
            "{line:?} in {stdout}"
        );
    }
    // Many ranks are told by what they have in common.
    let (code, stdout, _) = finish(plan(&["--host", "node[1-100]:64"]));
    assert_eq!(code, 0);
    assert!(
        stdout.contains("(40550400 ordered pairs)") && stdout.lines().count() < 60,
        "{stdout}"
    );
}

#[test]
fn a_hostfile_is_read_and_its_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    let file = path.to_str().unwrap();
    std::fs::write(&path, "a slots=2\nb:3\n").unwrap();
    let (code, found) = report(plan(&["--hostfile", file, "-n", "4"]));
    assert_eq!((code, &found["hosts"][1]["ranks"]), (0, &json!([2, 3])));

    // As `phalanx run` has them.
    let (_, found) = report(plan(&[
        "--host",
        "a:1,b:1",
        "-n",
        "3",
        "--map-by",
        "node",
        "--oversubscribe",
    ]));
    assert_eq!(found["hosts"][0]["ranks"], json!([0, 2]));

    std::fs::write(&path, "a slots=two\n").unwrap();
    for (arguments, words) in [
        (&["--hostfile", file][..], "line 1, column 9"),
        (&["--hostfile", "/nonexistent"], "/nonexistent"),
        (&["--host", "a:2", "-n", "3"], "3 ranks do not fit"),
        (&["--host", "a:x"], "is no number of ranks"),
        (&["-n", "0"], "at least one"),
    ] {
        let (code, stdout, stderr) = finish(plan(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

#[test]
fn hosts_without_a_plan_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command.args(["info", "--host", "a:2"]).stdin(Stdio::null());
    let (code, stdout, stderr) = finish(command);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("add --plan"), "{stderr}");
}

#[test]
fn a_job_that_would_be_refused_is_told() {
    let mut command = plan(&[]);
    command.env("PHALANX_TRANSPORT", "inproc");
    let (code, found) = report(command);
    assert_eq!(code, 2);
    let refused = found["refused"].as_str().unwrap();
    assert!(
        refused.starts_with("transport.same_host is inproc (PHALANX_TRANSPORT)"),
        "{refused}"
    );
}
