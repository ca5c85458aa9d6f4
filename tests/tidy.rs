//! Rules of the house that no lint knows, checked over every source file.

use std::fs;
use std::path::{Path, PathBuf};

/// The only places where unsafe code may stand: the crate made for it, and one file that its caller has to ask for by name.
const FREE: [&str; 2] = ["transport/shm/", "runtime/src/message/unchecked.rs"];

/// More lines than this belong into two files. Tests may be longer: they are lists.
const MOST_LINES: usize = 600;

/// Lines above a strict ordering among which its reason has to stand.
const REASON_WITHIN: usize = 8;

#[test]
fn every_file_begins_with_what_it_is_for() {
    check(|file| {
        (!file.text.starts_with("//!")).then(|| "begins without a `//!` comment".to_owned())
    });
}

#[test]
fn no_file_is_too_long() {
    check(|file| {
        let lines = file.text.lines().count();
        (lines > MOST_LINES && !file.is_test())
            .then(|| format!("has {lines} lines, more than {MOST_LINES}: split it"))
    });
}

#[test]
fn unsafe_code_stands_where_it_may() {
    check(|file| {
        let is_allowed = FREE.iter().any(|place| file.name.starts_with(place));
        let line = file.code().find(|(_, code)| {
            // Taken apart, so that this file does not find itself.
            let word = concat!("un", "safe");
            let kinds = ["{", "fn ", "impl", "trait ", "extern "];
            kinds
                .iter()
                .any(|kind| code.contains(&format!("{word} {kind}")))
        });
        line.filter(|_| !is_allowed).map(|(number, _)| {
            format!(
                "has unsafe code in line {number}; it belongs to {}",
                FREE[0]
            )
        })
    });
}

#[test]
fn nothing_is_left_undone_skipped_or_left_over() {
    // Taken apart, so that this file does not find itself.
    let words = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("db", "g!"),
        concat!("#[ig", "nore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    check(|file| {
        let lines = file.text.lines().enumerate();
        let mut found = lines.flat_map(|(index, line)| {
            let words = words.iter().filter(move |word| line.contains(**word));
            words.map(move |word| format!("has {word} in line {}", index + 1))
        });
        found.next()
    });
}

#[test]
fn the_strictest_ordering_has_a_reason() {
    let word = concat!("Seq", "Cst");
    check(|file| {
        let lines: Vec<_> = file.text.lines().collect();
        let (number, _) = file.code().find(|(number, code)| {
            let above = &lines[number.saturating_sub(REASON_WITHIN)..*number];
            code.contains(word) && !above.iter().any(|line| line.contains("//"))
        })?;
        Some(format!(
            "uses {word} in line {number} without a comment that says why"
        ))
    });
}

/// One source file.
struct File {
    /// Its path from the root.
    name: String,
    text: String,
}

impl File {
    /// Lines with their number, without their comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    fn is_test(&self) -> bool {
        let path = Path::new(&self.name);
        path.file_name().is_some_and(|name| name == "tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests")
    }
}

/// Fails with all that `problem` says of the files.
fn check(problem: impl Fn(&File) -> Option<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, root, &mut files);
    assert!(
        files.len() > 50,
        "the sources are not where they were: {}",
        root.display()
    );
    let problems: Vec<_> = files
        .iter()
        .filter_map(|file| Some(format!("{} {}", file.name, problem(file)?)))
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(File {
                name: path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}
