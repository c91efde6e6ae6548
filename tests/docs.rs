//! What the pages for users and operators name is there: settings, metrics, commands and their flags.

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

/// Known only once there was a first heartbeat, or a first comparison.
const LATER: [&str; 5] = [
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

#[test]
fn settings_exist() {
    let keys: BTreeSet<String> = boveda::config::layers::keys().into_iter().collect();
    let sections: BTreeSet<&str> =
        keys.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    let mut seen = 0;
    for (page, text) in PAGES {
        for word in words(text) {
            let Some((section, name)) = word.split_once('.') else { continue };
            if sections.contains(section) && !name.contains('.') {
                assert!(keys.contains(word), "{page}: there is no setting {word}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "the pages are read as they are written");
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
