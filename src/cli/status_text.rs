//! The status of a node as a page for people.
//!
//! Invariants
//! - What the node did not say is shown as `-`: an older or a newer release is no error.
//! - What wants attention stands last, each in a line with what to do about it.

use super::keys_text;
use super::plain::plain;
use serde_json::Value;
use std::fmt::Write;

const KIB: u64 = 1024;

/// What `boveda status` prints of a node's answer: the node itself, its cipher keys, its peers, what wants attention.
pub fn page(status: &Value) -> String {
    let mut out = String::new();
    own(&mut out, status);
    for key in list(status, "/key_generations") {
        line(&mut out, "key", keys_text::generation(key));
    }
    let mut peers: Vec<&Value> = list(status, "/peers").collect();
    peers.sort_by_key(|peer| !is_up(peer));
    if !peers.is_empty() {
        out.push('\n');
        table(&mut out, LINKS, &peers, link);
        out.push('\n');
        table(&mut out, WORDS, &peers, words);
    }
    let wanted = attention(status, &peers);
    if !wanted.is_empty() {
        out.push('\n');
        out.extend(wanted.into_iter().map(|text| format!("! {text}\n")));
    }
    out
}

/// One line, under its name; a line that goes on has none.
fn line(out: &mut String, name: &str, text: String) {
    let _ = writeln!(out, "{name:<11} {text}");
}

/// The lines on the node itself.
fn own(out: &mut String, status: &Value) {
    let cluster = format!("{}, durability {}", text(status, "/cluster"), text(status, "/durability"));
    line(out, "cluster", cluster);
    let (node, life) = (text(status, "/node"), text(status, "/incarnation"));
    line(out, "node", format!("{node}, incarnation {life}, version {}", text(status, "/version")));
    line(out, "ready", ready(status));
    line(out, "voting", voting(status));
    let size = |name: &str| size(status, &format!("/store/{name}"));
    let disk = format!("{} free of {}, reserve {}", size("disk/free"), size("disk/total"), size("reserve_bytes"));
    line(out, "disk", disk);
    let store = |name: &str| count(status, &format!("/store/{name}"));
    let (buckets, head) = (store("buckets"), store("head"));
    let held = match flag(status, "/store/compared") {
        true => {
            let (objects, bytes, tombstones) = (store("objects"), size("bytes"), store("tombstones"));
            format!("{objects} objects, {bytes}, {buckets} buckets, {tombstones} tombstones, change {head}")
        }
        false => format!("{buckets} buckets, change {head}; objects are being counted"),
    };
    line(out, "store", held);
    if let Some(open) = public(status) {
        line(out, "public", open);
    }
    let scrub = status.pointer("/store/scrub").filter(|scrub| scrub.is_object());
    line(out, "scrub", scrub.map_or_else(|| "-".to_owned(), scrub_now));
    if let Some(last) = scrub.and_then(scrub_last) {
        line(out, "", last);
    }
    let healing = |name: &str| count(status, &format!("/healing/{name}"));
    let healing = format!(
        "{} blobs and {} records mended, {} copies of peers refused, {} not mended, {} in quarantine",
        healing("mended_blobs"),
        healing("mended_records"),
        healing("refused"),
        healing("unmended"),
        store("quarantined"),
    );
    line(out, "healing", healing);
    if status.get("audit").is_some_and(Value::is_object) {
        let log = |name: &str| count(status, &format!("/audit/{name}"));
        let bytes = self::size(status, "/audit/bytes");
        let text = format!("{bytes} in {} files, line {}, {} findings", log("files"), log("sequence"), log("findings"));
        line(out, "audit", text);
    }
}

/// What is open to everybody without a key, if anything is.
fn public(status: &Value) -> Option<String> {
    let count = status.pointer("/public_buckets/count").and_then(Value::as_u64).filter(|count| *count > 0)?;
    let shown: Vec<String> = list(status, "/public_buckets/names").filter_map(Value::as_str).map(plain).collect();
    let more = count.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("open to everybody without a key: {}{more}", shown.join(", ")))
}

/// Whether something wants attention.
pub fn is_unwell(status: &Value) -> bool {
    !attention(status, &list(status, "/peers").collect::<Vec<_>>()).is_empty()
}

fn ready(status: &Value) -> String {
    match status.pointer("/readiness/ready").and_then(Value::as_bool) {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => "-".to_owned(),
    }
}

/// Who decides, and whether this node is among them.
fn voting(status: &Value) -> String {
    let names = |list_of: &str| {
        let place = format!("/voting/members/{list_of}");
        let seats = list(status, &place);
        seats.map(|seat| text(seat, "/name")).collect::<Vec<_>>().join(" ")
    };
    let voters = match (names("seats"), names("before")) {
        (seats, _) if seats.is_empty() && list(status, "/peers").next().is_none() => return "alone".to_owned(),
        (seats, _) if seats.is_empty() && text(status, "/durability") == "local" => {
            return "each node for itself".to_owned();
        }
        (seats, _) if seats.is_empty() => return "no member list".to_owned(),
        (seats, before) if before.is_empty() => seats,
        (seats, before) => format!("{before}, changing to {seats}"),
    };
    let votes = if flag(status, "/voting/votes") { "votes" } else { "does not vote" };
    let majority = if flag(status, "/voting/majority") { "" } else { "; no majority" };
    format!("{voters}, epoch {}; this node {votes}{majority}", count(status, "/voting/list/epoch"))
}

/// The page of one scrubber.
pub fn scrub_page(scrub: &Value) -> String {
    let mut out = format!("{:<11} {}\n", "scrub", scrub_now(scrub));
    out.extend(scrub_last(scrub).map(|last| format!("{:<11} {last}\n", "")));
    if let Some(why) = scrub.get("last_error").and_then(Value::as_str) {
        let _ = writeln!(out, "{:<11} last error: {}", "", plain(why));
    }
    let wanted = scrub_attention(scrub);
    if !wanted.is_empty() {
        out.push('\n');
        out.extend(wanted.into_iter().map(|text| format!("! {text}\n")));
    }
    out
}

fn scrub_last(scrub: &Value) -> Option<String> {
    let last = scrub.get("last").filter(|last| last.is_object())?;
    Some(format!("last run ended {} ago: {}", age(last, "/age_s"), run(last)))
}

fn scrub_now(scrub: &Value) -> String {
    let state = text(scrub, "/state");
    // At rest there is the last run to show, and nothing else.
    if state == "resting" || scrub.get("started_ms").is_none_or(Value::is_null) {
        return state;
    }
    format!("{state}, {} % done: {}", percent(scrub), run(scrub))
}

fn percent(scrub: &Value) -> String {
    format!("{:.0}", scrub.get("position").and_then(Value::as_f64).unwrap_or(0.0) * 100.0)
}

/// What a run of the scrubber has come to.
fn run(run: &Value) -> String {
    let number = |name: &str| count(run, name);
    format!(
        "{} objects, {} read, {} damaged, {} repaired",
        number("/objects"),
        size(run, "/bytes"),
        number("/damaged"),
        number("/repaired")
    )
}

/// What this node sees of each peer.
const LINKS: [&str; 7] = ["peer", "link", "behind", "oldest", "heartbeat", "list", "compared"];

fn link(peer: &Value) -> [String; 7] {
    [
        text(peer, "/peer"),
        text(peer, "/link"),
        count(peer, "/changes_behind"),
        age(peer, "/oldest_change_age_s"),
        age(peer, "/last_heartbeat_age_s"),
        text(peer, "/list/is"),
        compared(peer),
    ]
}

/// What each peer told of itself with its last heartbeat.
const WORDS: [&str; 7] = ["peer", "free", "tentative", "mended", "unmended", "quarantine", "scrub"];

fn words(peer: &Value) -> [String; 7] {
    [
        text(peer, "/peer"),
        size(peer, "/peer_free"),
        count(peer, "/health/tentative"),
        count(peer, "/health/mended"),
        count(peer, "/health/unmended"),
        count(peer, "/health/quarantined"),
        peer.pointer("/health/scrub").map_or_else(|| "-".to_owned(), peer_scrub),
    ]
}

/// The scrubber of a peer: the run that is under way, and the last one that ended.
fn peer_scrub(scrub: &Value) -> String {
    let state = text(scrub, "/state");
    let found = |run: &str| {
        let number = |name: &str| count(scrub, &format!("{run}/{name}"));
        format!("{} damaged, {} repaired", number("damaged"), number("repaired"))
    };
    let mut out = match state.as_str() {
        "reading" | "mending" => format!("{state}, {} % done: {}", percent(scrub), found("")),
        _ => state,
    };
    if scrub.get("last").is_some_and(Value::is_object) {
        let _ = write!(out, "; {} ago {}", age(scrub, "/last/age_s"), found("/last"));
    }
    out
}

fn table<const N: usize>(out: &mut String, head: [&str; N], peers: &[&Value], row: fn(&Value) -> [String; N]) {
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(peers.iter().map(|peer| row(peer)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn compared(peer: &Value) -> String {
    let number = |name: &str| count(peer, &format!("/compare/{name}"));
    let (leaves, ago) = (number("last_leaves"), age(peer, "/compare/last_age_s"));
    let repaired = if number("repaired") == "0" { String::new() } else { format!(", {} repaired", number("repaired")) };
    match leaves.as_str() {
        "-" => "-".to_owned(),
        "0" => format!("equal, {ago} ago{repaired}"),
        leaves => format!("{leaves} groups differed, {ago} ago; {} offered again{repaired}", number("offered")),
    }
}

fn is_up(peer: &Value) -> bool {
    peer.get("link").and_then(Value::as_str) == Some("up")
}

/// What somebody has to look at.
fn attention(status: &Value, peers: &[&Value]) -> Vec<String> {
    let mut all = Vec::new();
    for (what, begin) in [("missing", "not ready: "), ("degraded", "")] {
        let found = status.pointer(&format!("/readiness/{what}")).and_then(Value::as_object);
        let whys = found.into_iter().flatten().filter_map(|(name, why)| Some((plain(name), plain(why.as_str()?))));
        all.extend(whys.map(|(name, why)| format!("{begin}{name}: {why}")));
    }
    let some = |path: &str| status.pointer(path).and_then(Value::as_u64).is_some_and(|n| n > 0);
    for peer in peers.iter().filter(|peer| !is_up(peer)) {
        let why = text(peer, "/last_error");
        all.push(format!("{}: link {}, last error: {why}", text(peer, "/peer"), text(peer, "/link")));
    }
    all.extend(list(status, "/key_generations").filter_map(keys_text::attention));
    all.extend(peers.iter().filter_map(|peer| other_list(status, peer)));
    all.extend(peers.iter().filter(|peer| flag(peer, "/forgot")).map(|peer| {
        format!(
            "{}: its data directory is an older copy of itself, so no votes pass: it gives up its incarnation and is \
             given its place anew",
            text(peer, "/peer")
        )
    }));
    all.extend(gave_up(status));
    all.extend(peers.iter().flat_map(|peer| unwell(peer)));
    if some("/healing/unmended") {
        let unmended = count(status, "/healing/unmended");
        all.push(format!(
            "{unmended} times a damaged or missing copy was not mended since the start, for no peer had a good one \
             (`boveda verify` names the objects; keep the files in quarantine/; a restart counts anew)"
        ));
    }
    if some("/store/damaged_pages") {
        all.push("pages of the index do not open: docs/operations.md, \"A damaged index\", has the way out (a member: move the data \
             directory aside, and its peers fill it; a node alone: keep it, it has all there is)".to_owned());
    }
    all.extend(status.pointer("/store/scrub").map(scrub_attention).unwrap_or_default());
    all
}

/// What a peer told of itself that somebody has to look at there.
fn unwell(peer: &Value) -> Vec<String> {
    let name = text(peer, "/peer");
    let mut all = Vec::new();
    if flag(peer, "/health/poisoned") {
        all.push(format!("{name}: its store takes no writes: its own status says why, and what helps"));
    }
    if flag(peer, "/health/full") {
        all.push(format!("{name}: its disk is full down to the reserve"));
    }
    let lost = peer.pointer("/health/scrub").map_or(0, lost);
    if lost > 0 {
        all.push(format!("{name}: {lost} damaged objects without a good copy: `boveda verify` there names them"));
    }
    all
}

/// A node that may have forgotten what it had promised, until it has its place anew.
fn gave_up(status: &Value) -> Option<String> {
    let former = status.pointer("/voting/former").and_then(Value::as_str)?;
    let mut seats = list(status, "/voting/members/seats").chain(list(status, "/voting/members/before"));
    let seated = seats.any(|seat| seat.get("incarnation") == status.get("incarnation"));
    (!seated).then(|| {
        format!(
            "this node gave up its incarnation {}, since it may have forgotten what it had promised (an older copy of \
             its data directory, or a log that was cut): it votes again when a majority of the others has given it its \
             place anew",
            plain(former)
        )
    })
}

/// What to do about a peer whose member list is another one.
fn other_list(status: &Value, peer: &Value) -> Option<String> {
    if !flag(peer, "/list/differs") {
        return None;
    }
    let (name, is) = (text(peer, "/peer"), text(peer, "/list/is"));
    let (here, there) = (count(status, "/voting/list/epoch"), count(peer, "/list/epoch"));
    Some(match is.as_str() {
        "other" => format!(
            "{name}: another member list of epoch {here}, so no votes pass: the two were founded apart; \
             docs/operations.md, \"Two member lists\", says what to do"
        ),
        _ => format!(
            "{name}: its member list stays {is} (epoch {there}, here {here}), so no votes pass: look at the disk and \
             the log of the one that is behind, and whether cluster.durability is the same on both"
        ),
    })
}

fn scrub_attention(scrub: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let lost = lost(scrub);
    if lost > 0 {
        all.push(format!("{lost} damaged objects without a good copy: stop the node; `boveda verify` names them"));
    }
    match text(scrub, "/state").as_str() {
        "waiting" => all.push(format!("scrubbing stands still: {}", text(scrub, "/last_error"))),
        "paused" => all.push("scrubbing is paused: `boveda scrub resume` lets it go on".to_owned()),
        _ => {}
    }
    all
}

/// Damaged objects without a good copy.
fn lost(scrub: &Value) -> u64 {
    let missing = |run: &str| {
        let number = |name: &str| scrub.pointer(&format!("{run}/{name}")).and_then(Value::as_u64).unwrap_or(0);
        number("damaged").saturating_sub(number("repaired"))
    };
    missing("").max(missing("/last"))
}

fn list<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn flag(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}

fn text(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).map_or_else(|| "-".to_owned(), plain)
}

fn count(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |n| n.to_string())
}

/// A size in the largest unit that leaves a number above 1, with a tenth.
fn size(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), size_of)
}

/// So many bytes as people read them.
pub fn size_of(bytes: u64) -> String {
    let mut unit = 1;
    for name in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if bytes < unit * KIB || name == "TiB" {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return if unit == 1 { format!("{bytes} B") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) };
        }
        unit *= KIB;
    }
    "-".to_owned()
}

/// A time in the largest unit that leaves a number above 1.
fn age(value: &Value, path: &str) -> String {
    let Some(seconds) = value.pointer(path).and_then(Value::as_u64) else { return "-".to_owned() };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_for_people() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(&json!({ "n": bytes }), "/n"), shown);
        }
        for (seconds, shown) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (604_800, "7 d")] {
            assert_eq!(age(&json!({ "n": seconds }), "/n"), shown);
        }
    }

    #[test]
    fn what_wants_attention_stands_last_and_nothing_steers_the_terminal() {
        let status = json!({
            "node": "n1",
            "readiness": { "ready": false, "missing": { "place": "none" }, "degraded": { "store": "takes no \u{1b}writes" } },
            "store": { "compared": true, "objects": 7, "bytes": 2_048, "scrub": { "state": "resting", "damaged": 2, "repaired": 1 } },
            "peers": [
                { "peer": "n2", "link": "down", "last_error": "a\u{1b}[2Jb" },
                { "peer": "n3", "link": "up", "compare": { "last_leaves": 0, "last_age_s": 4, "repaired": 2 },
                  "list": { "is": "other", "differs": true, "epoch": 6 },
                  "health": { "tentative": 1, "mended": 2, "unmended": 3, "quarantined": 4, "full": true,
                              "scrub": { "state": "reading", "position": 0.5, "damaged": 1, "repaired": 1,
                                         "last": { "age_s": 7_200, "damaged": 5, "repaired": 4 } } } },
            ],
            "key_generations": [{ "number": 1, "id": "aa", "active": true, "waits_for": [] },
                                { "number": 2, "id": "bb", "active": false, "waits_for": ["n7", "n8"] },
                                { "number": 3, "id": "cc", "active": false, "waits_for": ["n7", "n8"], "clashes_with": ["n8"] }],
            "incarnation": "b",
            "healing": { "unmended": 6 },
            "voting": { "list": { "epoch": 6 }, "votes": true, "majority": false, "former": "a",
                        "members": { "seats": [{ "name": "n1" }, { "name": "n4" }], "before": [{ "name": "n1" }] } },
        });
        assert!(is_unwell(&status));
        let page = page(&status);
        let at = |part: &str| page.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{page}"));
        assert!(at("n3 ") < at("n2 ") && at("equal, 4 s ago, 2 repaired") < at("! n2: link down, last error: a?[2Jb"));
        let words =
            "1          2       3         4           reading, 50 % done: 1 damaged, 1 repaired; 2 h ago 5 damaged";
        assert!(at("n3    -     ") < at(words), "{page}");
        assert!(at("! n3: another member list of epoch 6") < at("! n3: its disk is full"), "{page}");
        assert!(at("! n3: its disk is full") < at("! n3: 1 damaged objects"), "{page}");
        assert!(at("! n3: another") < at("! this node gave up its incarnation a"), "{page}");
        assert!(at("! not ready: place: none") < at("! store: takes no ?writes"), "{page}");
        assert!(at("! store: takes no ?writes") < at("! 1 damaged objects"), "{page}");
        at("! 6 times a damaged or missing copy was not mended since the start");
        at("ready       no\nvoting      n1, changing to n1 n4, epoch 6; this node votes; no majority\n");
        at("store       7 objects, 2.0 KiB, - buckets");
        at(
            "key         generation 1  id aa  seals and opens; - keys\nkey         generation 2  id bb  opens; cannot seal",
        );
        at("! key generation 2 cannot seal yet: put its file into the key directories of n7 n8");
        at("! key generation 3 here is another key than that of n8: it was made on several nodes");
        assert!(!page.contains("generation 3 cannot seal"), "{page}");
        assert!(!page.contains('\u{1b}'));
        assert!(!is_unwell(&json!({})));
        let quiet = super::page(&json!({}));
        assert!(!quiet.contains('!') && quiet.contains("cluster     -"), "{quiet}");
    }
}
