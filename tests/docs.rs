//! What the pages name is there. For users and operators: settings, metrics, commands and their flags. For readers of the
//! code: words, files, functions, tests.

mod common;

use common::{Node, eventually};
use std::collections::BTreeSet;
use std::process::Command;

const PAGES: [(&str, &str); 5] = [
    ("README.md", include_str!("../README.md")),
    ("docs/operations.md", include_str!("../docs/operations.md")),
    ("docs/load.md", include_str!("../docs/load.md")),
    ("k8s/README.md", include_str!("../k8s/README.md")),
    ("config/boveda.toml", include_str!("../config/boveda.toml")),
];

/// Known only once there was a first heartbeat, or a first comparison; or of a node with TLS (`http_tls.rs` asks for it).
const LATER: [&str; 6] = [
    "boveda_certificate_expires_in_s",
    "boveda_peers_last_heartbeat_age_s",
    "boveda_peers_compare_last_age_s",
    "boveda_peers_compare_last_leaves",
    "boveda_peers_health_full",
    "boveda_peers_health_poisoned",
];

/// Words of a page: what stands between blanks, quotes and other marks that no name contains.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).map(|w| w.trim_end_matches(['.', '-']))
}

/// How many settings a page names, and those among them that are none.
fn settings(text: &str) -> (usize, Vec<&str>) {
    let keys: BTreeSet<String> = boveda::config::layers::keys().into_iter().collect();
    let sections: BTreeSet<&str> =
        keys.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    let named = words(text).filter(|word| {
        // Kubernetes calls a certificate tls.crt.
        word.split_once('.')
            .is_some_and(|(section, name)| sections.contains(section) && !name.contains('.') && name != "crt")
    });
    let named: Vec<&str> = named.collect();
    (named.len(), named.into_iter().filter(|word| !keys.contains(*word)).collect())
}

#[test]
fn settings_exist() {
    let mut seen = 0;
    for (page, text) in PAGES {
        let (named, unknown) = settings(text);
        assert!(unknown.is_empty(), "{page}: there are no settings {unknown:?}");
        seen += named;
    }
    assert!(seen > 10, "the pages are read as they are written");
    assert_eq!(settings("Set `store.inline_max` and `store.nothing`."), (2, vec!["store.nothing"]), "one is found");
}

#[test]
fn metrics_exist() {
    let ring = tempfile::tempdir().expect("a directory");
    let keys = ring.path().join("keys");
    let made = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["key", "new", "--key-dir"]).arg(&keys).status();
    assert!(made.expect("the program runs").success());
    let mut node = Node::prepared(
        &[("BOVEDA_CLUSTER_PEERS", "b=http://127.0.0.1:1"), ("BOVEDA_CLUSTER_DURABILITY", "majority")],
        Some(&keys),
    );
    node.begin();
    let names = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect()
    };
    let known = eventually("the peers in the metrics", || {
        let known = names(node.get("/metrics").text());
        known.contains("boveda_peers_changes_behind").then_some(known)
    });
    let mut seen = 0;
    for (page, text) in PAGES {
        for word in words(text).filter(|word| word.starts_with("boveda_")) {
            let known = known.contains(word) || LATER.contains(&word);
            assert!(known, "{page}: there is no metric {word}");
            seen += 1;
        }
    }
    assert!(seen > 10, "the pages are read as they are written");
}

#[test]
fn commands_and_their_flags_exist() {
    let commands = [
        "serve",
        "demo",
        "key new",
        "key list",
        "status",
        "scrub status",
        "scrub pause",
        "scrub resume",
        "verify",
        "leave",
        "config check",
        "members list",
        "members add",
        "members replace",
        "members remove",
        "access create",
        "access list",
        "access show",
        "access rotate",
        "access disable",
        "access enable",
        "access revoke",
        "access generate",
        "audit show",
        "audit check",
        "audit accept",
    ];
    let mut seen = 0;
    for (page, text) in PAGES {
        for line in text.lines() {
            for (at, name) in line.match_indices("boveda ") {
                let rest = &line[at + name.len()..];
                let Some(command) = commands.iter().find(|command| rest.starts_with(*command)) else { continue };
                let rest = rest.split(['`', ';', '|', '#']).next().unwrap_or_default();
                let help = Command::new(env!("CARGO_BIN_EXE_boveda")).args(command.split(' ')).arg("--help").output();
                let help = String::from_utf8(help.expect("the program runs").stdout).expect("UTF-8");
                for flag in words(rest).filter(|word| word.starts_with("--") && word.len() > 2) {
                    assert!(words(&help).any(|known| known == flag), "{page}: boveda {command} has no {flag}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 5, "the pages are read as they are written");
}

/// The text of a file of the project.
fn read(path: &str) -> String {
    let whole = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of a page's tables, in cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    read(page).lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The words of a source: of its identifiers and of its documentation, in lower case, with a blank around each.
fn words_of(source: &str) -> String {
    let mut all = String::from(" ");
    for line in source.lines().map(str::trim) {
        let doc = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"));
        if doc.is_none() && line.starts_with("//") {
            continue;
        }
        let mut before = ' ';
        for c in doc.unwrap_or(line).chars().chain([' ']) {
            let begins = !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && before.is_ascii_lowercase());
            if begins && !all.ends_with(' ') {
                all.push(' ');
            }
            if c.is_ascii_alphanumeric() {
                all.push(c.to_ascii_lowercase());
            }
            before = c;
        }
    }
    all
}

#[test]
fn words_stand_in_the_files_beside_them() {
    let mut seen = BTreeSet::new();
    for row in rows("docs/words.md") {
        let [word, _, places] = &row[..] else { panic!("docs/words.md: a row of {} cells", row.len()) };
        if quoted(places).next().is_none() {
            continue;
        }
        assert!(seen.insert(word.clone()), "docs/words.md: {word} stands there twice");
        for path in quoted(places) {
            let there = words_of(&read(path)).contains(&format!(" {} ", word.to_lowercase()));
            assert!(there, "docs/words.md: {path} does not know the word {word}");
        }
    }
    assert!(seen.len() > 30, "the page is read as it is written");
}

#[test]
fn the_tour_leads_through_files_and_functions_that_are_there() {
    let mut seen = 0;
    for row in rows("docs/tour.md") {
        let [path, functions, _] = &row[..] else { panic!("docs/tour.md: a row of {} cells", row.len()) };
        let Some(path) = quoted(path).next() else { continue };
        let source = read(path);
        for function in quoted(functions) {
            let is_there = [format!("fn {function}("), format!("fn {function}<")].iter().any(|f| source.contains(f));
            assert!(is_there, "docs/tour.md: there is no function {function} in {path}");
            seen += 1;
        }
    }
    assert!(seen > 50, "the page is read as it is written");
    let text = read("docs/tour.md");
    for path in quoted(&text).filter(|word| word.contains('/') && word.ends_with(".rs")) {
        read(path);
    }
}

#[test]
fn every_test_and_every_runner_has_a_row() {
    use std::os::unix::fs::PermissionsExt;
    let named: BTreeSet<String> =
        rows("tests/README.md").iter().filter_map(|row| quoted(row.first()?).next().map(str::to_owned)).collect();
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for name in &named {
        assert!(tests.join(name).exists(), "tests/README.md: there is no {name}");
    }
    let entries = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let name = |path: &std::path::Path| path.strip_prefix(&tests).expect("below tests").display().to_string();
    for path in
        entries(&tests).into_iter().filter(|path| !path.ends_with("README.md") && !path.ends_with("__pycache__"))
    {
        if !path.is_dir() {
            assert!(named.contains(&name(&path)), "tests/README.md: no row for {}", name(&path));
            continue;
        }
        let folder = format!("{}/", name(&path));
        assert!(named.iter().any(|row| row.starts_with(&folder)), "tests/README.md: no row for {folder}");
        for path in entries(&path).into_iter().filter(|path| path.is_file()) {
            let runs = path.metadata().expect("a file").permissions().mode() & 0o111 != 0;
            assert!(!runs || named.contains(&name(&path)), "tests/README.md: no row for {}", name(&path));
        }
    }
}

/// Rooms whose header has a table of their files: the folder, and the file with the header.
const ROOMS: [(&str, &str); 28] = [
    ("src/actors", "src/actors/mod.rs"),
    ("src/actors/background", "src/actors/background/mod.rs"),
    ("src/actors/coordinator", "src/actors/coordinator/mod.rs"),
    ("src/actors/messages", "src/actors/messages/mod.rs"),
    ("src/actors/peer", "src/actors/peer/mod.rs"),
    ("src/actors/replication", "src/actors/replication/mod.rs"),
    ("src/actors/replication/records", "src/actors/replication/records/mod.rs"),
    ("src/actors/replication/votes_lane", "src/actors/replication/votes_lane.rs"),
    ("src/actors/store_actor", "src/actors/store_actor/mod.rs"),
    ("src/audit", "src/audit/mod.rs"),
    ("src/base", "src/base/mod.rs"),
    ("src/cli", "src/cli/mod.rs"),
    ("src/config", "src/config/mod.rs"),
    ("src/disk", "src/disk/mod.rs"),
    ("src/disk/crash", "src/disk/crash.rs"),
    ("src/http", "src/http/mod.rs"),
    ("src/http/edge", "src/http/edge/mod.rs"),
    ("src/http/rest", "src/http/rest/mod.rs"),
    ("src/http/s3", "src/http/s3/mod.rs"),
    ("src/node", "src/node.rs"),
    ("src/peer_port", "src/peer_port/mod.rs"),
    ("src/register", "src/register/mod.rs"),
    ("src/seal", "src/seal/mod.rs"),
    ("src/store", "src/store/mod.rs"),
    ("src/store/log", "src/store/log.rs"),
    ("src/store/pages", "src/store/pages/mod.rs"),
    ("src/store/segments", "src/store/segments/mod.rs"),
    ("src/wire", "src/wire/mod.rs"),
];

#[test]
fn every_file_stands_in_the_table_of_its_room() {
    for (room, header) in ROOMS {
        let text = read(header);
        let table: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("//! | ")).flat_map(quoted).collect();
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(room);
        for entry in std::fs::read_dir(dir).expect("a room") {
            let path = entry.expect("an entry").path();
            let file = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            if !["mod", "tests", "testing"].contains(&file) {
                assert!(table.contains(file), "{header}: its table does not name {file}");
            }
        }
    }
}
