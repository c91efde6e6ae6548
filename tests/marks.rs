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

#[test]
fn every_mark_is_asked_for() {
    let mut tests = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut tests);
    for (mark, what) in Mark::ALL {
        assert!(tests.contains(&format!("Mark::{mark:?}")), "no test asks for {mark:?}: {what}");
    }
}
