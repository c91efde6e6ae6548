//! Keeps the direction of imports between the rooms: see the table in `src/lib.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The map of the rooms.
const MAP: &str = include_str!("../src/lib.rs");

/// Crates that one room alone may name (with those that build a node or test).
const OWNED: [(&str, &[&str]); 9] = [
    ("aes_gcm_siv", &["seal"]),
    ("blake3", &["seal"]),
    ("redb", &["store"]),
    ("awc", &["actors", "node"]),
    ("actix_web", &["http", "peer_port", "node"]),
    ("actix_http", &["http"]),
    ("quick_xml", &["http"]),
    ("rustls", &["tls"]),
    // Files in the one, the listeners in the other.
    ("rustix", &["disk", "node"]),
];

/// What each room may import besides itself, as the map says it.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in MAP.lines().filter_map(|line| line.strip_prefix("//! | `")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, _, may] = cells[..] else { panic!("a row of three cells: {row}") };
        rooms.insert(name.trim_end_matches('`'), may.split('`').skip(1).step_by(2).collect());
    }
    let all: Vec<_> = rooms.keys().copied().collect();
    let node = rooms.get_mut("node").expect("a row for the node");
    assert_eq!(*node, ["cli"], "all of them but that");
    *node = all.into_iter().filter(|room| *room != "cli").collect();
    rooms
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &Path, src: &Path) -> Option<String> {
    let first = path.strip_prefix(src).ok()?.components().next()?.as_os_str().to_str()?.to_owned();
    let room = first.trim_end_matches(".rs").to_owned();
    (!["lib", "main"].contains(&room.as_str())).then_some(room)
}

/// Rooms named behind `crate::`, grouped imports included.
fn named_rooms(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group.split(',').map(|part| word(part.trim()))),
            None => rooms.push(word(rest)),
        }
    }
    rooms
}

#[test]
fn imports_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed = allowed();
    assert!(allowed.len() > 10, "the map is read as it is written");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "the sources were found");
    let mut wrong = Vec::new();
    for path in files {
        let Some(room) = room_of(&path, &src) else { continue };
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room {room} is not in the table"));
        let text = std::fs::read_to_string(&path).expect("a source is readable");
        // Tests may reach further: they stand at the foot of a file or in `tests.rs`, and what they share in `testing`.
        if path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "testing") {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for named in named_rooms(line) {
                if named != room && allowed.contains_key(named.as_str()) && !may.contains(&named.as_str()) {
                    wrong.push(format!("{}:{number}: {room} imports {named}", path.display()));
                }
            }
            for (owned, rooms) in OWNED {
                if line.contains(&format!("{owned}::")) && !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{}:{number}: {room} names {owned}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who may ask for the members of a list itself, and for all nodes: whoever else does goes round `Placement`.
const LISTS: [(&str, &str); 5] = [
    ("src/register/placement.rs", "the door"),
    ("src/register/roster.rs", "what a list can be"),
    ("src/actors/coordinator/members.rs", "whether a list can be one"),
    ("src/actors/coordinator/members_actor.rs", "whether a list can be one"),
    ("src/store/seats.rs", "whether a list can be one"),
];
const ALL_NODES: [(&str, &str); 7] = [
    ("src/register/placement.rs", "the door"),
    ("src/actors/coordinator/mod.rs", "the door of coordinators"),
    ("src/actors/coordinator/takers.rs", "whether nodes are there, of the whole list"),
    ("src/actors/coordinator/scan.rs", "a range of registers lies on all"),
    ("src/actors/coordinator/tombstones.rs", "a burial is of the whole list"),
    ("src/actors/peer/reach.rs", "whether a majority of the list is there"),
    ("src/node/conditions.rs", "how many there are"),
];

/// Lines that ask for members past the doors of `Placement`, by the file that they are in.
fn past_the_doors(file: &str, text: &str) -> Vec<String> {
    let is_of = |files: &[(&str, &str)]| files.iter().any(|(of, _)| *of == file);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"));
    let wrong = lines.filter(|(_, line)| {
        let list = [".members()", "Members::new(", "Members::joint("].iter().any(|what| line.contains(what));
        let all = ["placement.all()", "all_members()", "Placement::all"].iter().any(|what| line.contains(what));
        // Of a decision that is under way they are those that it was given.
        let given = line.contains("machine.members()") || file == "src/register/members.rs";
        (list && !given && !is_of(&LISTS)) || (all && !is_of(&ALL_NODES))
    });
    wrong.map(|(number, line)| format!("{file}:{number}: {}", line.trim())).collect()
}

#[test]
fn where_something_lies_is_asked_of_one_door() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut wrong, mut doors) = (Vec::new(), Vec::new(), 0);
    sources(&root.join("src"), &mut files);
    for path in files {
        if path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "testing") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source is readable");
        doors += [".voters(", ".holders(", ".holds(", ".keeps("].iter().filter(|door| text.contains(*door)).count();
        let file = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        wrong.extend(past_the_doors(&file, &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(doors > 8, "lanes, healer, store and coordinators ask at the doors: {doors}");
}

#[test]
fn whoever_goes_round_the_door_is_seen() {
    let lane = "src/actors/replication/records/mod.rs";
    for line in ["let all = roster.members();", "placement.all().voters()", "let (_, all) = self.all_members()?;"] {
        assert_eq!(past_the_doors(lane, line).len(), 1, "{line}");
    }
    for line in ["// roster.members()", "voting.holds(peer, &key)", "#[cfg(test)]\nmod tests { roster.members() }"] {
        assert!(past_the_doors(lane, line).is_empty(), "{line}");
    }
}

#[test]
fn the_check_sees_both_forms_of_import() {
    assert_eq!(named_rooms("use crate::store::Store;"), ["store"]);
    assert_eq!(named_rooms("use crate::{base::X, disk};"), ["base", "disk"]);
}
