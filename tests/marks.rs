//! Every mark of a rare path is asked for by a test: one that nobody asks for may never have been reached.

use boveda::base::Mark;
use std::path::Path;

fn sources(dir: &Path, all: &mut String) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ext| ext == "rs") && path.file_name().is_some_and(|n| n != "marks.rs") {
            all.push_str(&std::fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// Those that these tests do not ask for, and what they say.
fn unasked(tests: &str) -> Vec<&'static (Mark, &'static str)> {
    Mark::ALL.iter().filter(|(mark, _)| !tests.contains(&format!("Mark::{mark:?}"))).collect()
}

#[test]
fn every_mark_is_asked_for() {
    let mut tests = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut tests);
    assert!(unasked(&tests).is_empty(), "no test asks for {:#?}", unasked(&tests));
}

#[test]
fn a_mark_that_nobody_asks_for_is_found() {
    let tests = Mark::ALL.iter().skip(1).map(|(mark, _)| format!("Mark::{mark:?}\n")).collect::<String>();
    assert_eq!(unasked(&tests), [&Mark::ALL[0]]);
}
