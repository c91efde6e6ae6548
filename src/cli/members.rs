//! `boveda members list`, `add`, `remove`, `replace`: the nodes that vote, by way of any node that does.
//!
//! Invariants
//! - A change is one of the list that was shown: what somebody else has changed meanwhile is refused, not undone.
//! - What cannot be undone is asked on a terminal, and wants `--yes` everywhere else.

use super::client::{Answered, ClientError, Node};
use super::plain::plain;
use super::settings::Env;
use super::whom::Asked;
use super::{Exit, print, refuse};
use crate::base::NodeName;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PATH: &str = "/v1/cluster/members";
/// What a change may take: every object is stored again, and bodies travel to new nodes.
const CHANGE_MAX: Duration = Duration::from_secs(3600);

/// How long a node that was given a place may take to be ready before that is said, and how often that is looked at.
const READY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Show and change the nodes that vote
///
/// A change goes by way of any node that votes, while the cluster serves. Ask again if the answer is lost: it
/// goes on where it stopped. docs/operations.md says what to do before and after.
#[derive(Debug, clap::Subcommand)]
pub enum Members {
    /// Show who votes, who is there, and who waits for a place
    List(Asked),
    /// Give nodes a place, beside those that have one
    Add {
        /// Their names: in cluster.peers of every node, running, with the same key ring
        #[arg(required = true, value_name = "NAME", value_parser = name)]
        names: Vec<NodeName>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Take the places of nodes away
    Remove {
        /// Their names; they need not be there
        #[arg(required = true, value_name = "NAME", value_parser = name)]
        names: Vec<NodeName>,
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        sure: Sure,
    },
    /// Give the place of one node to another
    Replace {
        /// Who loses it; need not be there
        #[arg(value_parser = name)]
        old: NodeName,
        /// Who is given it: in cluster.peers of every node, running, with the same key ring
        #[arg(value_parser = name)]
        new: NodeName,
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        sure: Sure,
    },
}

/// Whether to ask.
#[derive(Debug, clap::Args)]
pub struct Sure {
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

fn name(text: &str) -> Result<NodeName, &'static str> {
    NodeName::parse(text).ok_or("not a node name: letters, digits, '.', '-' and '_'")
}

#[derive(Debug, thiserror::Error)]
enum MembersError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}; `boveda members list` shows whether it was begun, and what was begun goes on by itself")]
    Lost(#[source] ClientError),
    #[error("{0} has a place already")]
    HasPlace(NodeName),
    #[error("{0} has no place: `boveda members list` shows who has")]
    NoPlace(NodeName),
    #[error("{0} is named twice")]
    Twice(NodeName),
    #[error("nobody would be left")]
    Nobody,
    #[error("this cannot be undone: say --yes, or run it on a terminal")]
    Unsure,
    #[error("nothing was changed")]
    No,
}

impl MembersError {
    fn exit(&self) -> Exit {
        match self {
            MembersError::Client(_) | MembersError::Lost(_) => Exit::Failed,
            MembersError::NoPlace(_) => Exit::NotFound,
            MembersError::No => Exit::Interrupted,
            MembersError::HasPlace(_) | MembersError::Twice(_) | MembersError::Nobody | MembersError::Unsure => {
                Exit::Usage
            }
        }
    }
}

/// The list as a node shows it.
struct Shown {
    answered: Answered,
    me: String,
    epoch: u64,
    names: Vec<String>,
}

/// How it ended.
struct Ended {
    answered: Answered,
    /// Whether it is to be printed as JSON.
    json: bool,
    /// Whether all who were given a place are ready.
    ready: bool,
}

/// What is to become of a list.
struct Plan {
    names: Vec<String>,
    leaving: Vec<String>,
}

impl Members {
    /// Does it and prints the list that is in force then.
    pub fn run(&self, env: &Env) -> ExitCode {
        match self.done(env) {
            Ok(Ended { answered, json, ready }) => {
                let text = if json { format!("{}\n", answered.raw.trim_end()) } else { page(&answered.json) };
                let printed = print(&text);
                if ready { printed } else { Exit::Partly.into() }
            }
            Err(error) => refuse(&error, error.exit()),
        }
    }

    fn done(&self, env: &Env) -> Result<Ended, MembersError> {
        let (asked, sure) = match self {
            Members::List(asked) | Members::Add { asked, .. } => (asked, true),
            Members::Remove { asked, sure, .. } | Members::Replace { asked, sure, .. } => (asked, sure.yes),
        };
        let node = asked.node.node(env)?;
        let mut shown = Shown::by(&node)?;
        if let Members::List(_) = self {
            return Ok(Ended { answered: shown.answered, json: asked.json, ready: true });
        }
        // A cluster that never had a list begins with the one of the node that holds what there is.
        if let (Members::Add { .. }, 0) = (self, shown.epoch) {
            let me = vec![shown.me.clone()];
            shown.change(&node, &me)?;
            shown = Shown::by(&node)?;
        }
        let plan = self.plan(&shown.names)?;
        if !asked.json || !sure {
            say(&plan, &shown);
        }
        if !sure {
            certain()?;
        }
        shown.change(&node, &plan.names)?;
        let (now, ready) = self.are_ready(&node)?;
        Ok(Ended { answered: now.answered, json: asked.json, ready })
    }

    /// Waits until who was given a place says that it is ready; whether all do.
    fn are_ready(&self, node: &Node) -> Result<(Shown, bool), ClientError> {
        let come: &[NodeName] = match self {
            Members::List(_) | Members::Remove { .. } => &[],
            Members::Add { names, .. } => names,
            Members::Replace { new, .. } => std::slice::from_ref(new),
        };
        let until = Instant::now() + READY_MAX;
        loop {
            let shown = Shown::by(node)?;
            // The node that was asked does not say it of itself here, and one of an earlier build says nothing.
            let is_ready = |seat: &Value| match seat.get("ready") {
                Some(Value::Null) => seat_name(seat) == shown.me,
                said => said.is_none_or(|ready| ready.as_bool() == Some(true)),
            };
            let waits = |name: &&NodeName| {
                !seats(&shown.answered.json, "seats").any(|seat| seat_name(seat) == name.as_str() && is_ready(seat))
            };
            let Some(waiting) = come.iter().find(waits) else { return Ok((shown, true)) };
            if Instant::now() >= until {
                let text = format!("{waiting} has its place, and is not ready yet: its /readyz says why\n");
                let _ = std::io::stderr().write_all(text.as_bytes());
                return Ok((shown, false));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn plan(&self, now: &[String]) -> Result<Plan, MembersError> {
        let (leave, come): (&[NodeName], &[NodeName]) = match self {
            Members::List(_) => (&[], &[]),
            Members::Add { names, .. } => (&[], names),
            Members::Remove { names, .. } => (names, &[]),
            Members::Replace { old, new, .. } => (std::slice::from_ref(old), std::slice::from_ref(new)),
        };
        let has = |names: &[String], name: &NodeName| names.iter().any(|known| known == name.as_str());
        let (mut names, mut leaving) = (now.to_vec(), Vec::new());
        for name in leave {
            match (has(now, name), has(&leaving, name)) {
                (false, _) => return Err(MembersError::NoPlace(name.clone())),
                (true, true) => return Err(MembersError::Twice(name.clone())),
                (true, false) => leaving.push(name.to_string()),
            }
        }
        names.retain(|name| !leaving.contains(name));
        for name in come {
            if has(&names, name) {
                let is_new = !has(now, name);
                return Err(if is_new {
                    MembersError::Twice(name.clone())
                } else {
                    MembersError::HasPlace(name.clone())
                });
            }
            // Who is to leave does not come in the same breath.
            if has(&leaving, name) {
                return Err(MembersError::Twice(name.clone()));
            }
            names.push(name.to_string());
        }
        match names.is_empty() {
            true => Err(MembersError::Nobody),
            false => Ok(Plan { names, leaving }),
        }
    }
}

impl Shown {
    fn by(node: &Node) -> Result<Self, ClientError> {
        let answered = node.ask("GET", PATH, "seats")?;
        let text = |path: &str| answered.json.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (me, epoch) = (text("/node"), answered.json.get("epoch").and_then(Value::as_u64).unwrap_or(0));
        let names = seats(&answered.json, "seats").map(seat_name).collect();
        Ok(Shown { me, epoch, names, answered })
    }

    /// Has the cluster come to these names, from this list and no other.
    fn change(&self, node: &Node, names: &[String]) -> Result<(), MembersError> {
        let target = format!("{PATH}?names={}&epoch={}", names.join(","), self.epoch);
        match node.ask_patiently("PUT", &target, "seats", CHANGE_MAX) {
            Ok(_) => Ok(()),
            Err(lost @ ClientError::Lost { .. }) => Err(MembersError::Lost(lost)),
            Err(error) => Err(error.into()),
        }
    }
}

fn seats<'a>(list: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    list.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn seat_name(seat: &Value) -> String {
    plain(seat.get("name").and_then(Value::as_str).unwrap_or("-"))
}

/// What will be, before it is.
fn say(plan: &Plan, shown: &Shown) {
    let mut out = String::new();
    let row = |names: &[String]| format!("{} ({} of them are a majority)", names.join(" "), names.len() / 2 + 1);
    let _ = writeln!(out, "now         {}", row(&shown.names));
    let _ = writeln!(out, "then        {}", row(&plan.names));
    for name in &plan.leaving {
        let _ = writeln!(
            out,
            "{name} loses its place: it votes no more, and begins with nothing when it is given one again"
        );
    }
    let _ = std::io::stderr().write_all(out.as_bytes());
}

/// Asks, on a terminal.
fn certain() -> Result<(), MembersError> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(MembersError::Unsure);
    }
    let _ = stderr.write_all(b"Go on? [y/N] ");
    let mut answer = String::new();
    let _ = stdin.lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(MembersError::No),
    }
}

/// The list as a page for people.
fn page(list: &Value) -> String {
    let mut out = String::new();
    let epoch = list.get("epoch").and_then(Value::as_u64).unwrap_or(0);
    if epoch == 0 {
        out.push_str("no member list yet\n");
    } else {
        let changing = if seats(list, "before").next().is_some() { ", changing" } else { "" };
        let _ = writeln!(out, "epoch {epoch}{changing}");
    }
    let full = list.get("full").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in full.filter(|_| seats(list, "before").next().is_some()) {
        let name = plain(name);
        let _ = writeln!(out, "! {name}: its disk is full down to the reserve: the change may wait for room there");
    }
    // While the list changes both are in force: who is in one of them alone comes or goes, a node under another
    // incarnation does both.
    let is_in =
        |member: &str, seat: &Value| seats(list, member).any(|s| s.get("incarnation") == seat.get("incarnation"));
    let changing = seats(list, "before").next().is_some();
    for member in ["seats", "before", "others"] {
        for seat in seats(list, member) {
            let role = match member {
                "seats" if changing && !is_in("before", seat) => "joins",
                "seats" => "votes",
                "before" if is_in("seats", seat) => continue,
                "before" => "leaves",
                _ => "no place",
            };
            let there = if seat.get("there").and_then(Value::as_bool) == Some(true) { "there" } else { "away" };
            let life = plain(seat.get("incarnation").and_then(Value::as_str).unwrap_or("-"));
            let _ = writeln!(out, "{:<20}  {role:<8}  {there:<5}  {life}", seat_name(seat));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        members: Members,
    }

    fn plan(line: &str, now: &[&str]) -> Result<(String, String), String> {
        let parsed = Line::try_parse_from(["boveda"].into_iter().chain(line.split(' '))).expect("a line");
        let now: Vec<String> = now.iter().map(|name| (*name).to_owned()).collect();
        let plan = parsed.members.plan(&now).map_err(|error| error.to_string())?;
        Ok((plan.names.join(" "), plan.leaving.join(" ")))
    }

    #[test]
    fn names_become_a_list_or_a_refusal_that_names_the_node() {
        let three = ["n1", "n2", "n3"];
        for (line, names, leaving) in [
            ("add n4 n5", "n1 n2 n3 n4 n5", ""),
            ("remove n2 --yes", "n1 n3", "n2"),
            ("replace n3 n4", "n1 n2 n4", "n3"),
        ] {
            assert_eq!(plan(line, &three), Ok((names.to_owned(), leaving.to_owned())), "{line}");
        }
        for (line, why) in [
            ("add n2", "n2 has a place already"),
            ("add n4 n4", "n4 is named twice"),
            ("remove n9", "n9 has no place"),
            ("remove n1 n1", "n1 is named twice"),
            ("remove n1 n2 n3", "nobody would be left"),
            ("replace n9 n4", "n9 has no place"),
            ("replace n1 n2", "n2 has a place already"),
            ("replace n1 n1", "n1 is named twice"),
        ] {
            assert!(plan(line, &three).is_err_and(|error| error.starts_with(why)), "{line}: {:?}", plan(line, &three));
        }
        for bad in ["add", "add a/b", "remove", "replace n1", "rename"] {
            assert!(Line::try_parse_from(["boveda"].into_iter().chain(bad.split(' '))).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_shown_with_who_is_away_and_who_waits() {
        let page = page(&json!({
            "epoch": 2,
            "seats": [{ "name": "n1", "incarnation": "00ab", "there": true }, { "name": "n\u{1b}2", "incarnation": "00ef", "there": false }],
            "before": [
                { "name": "n1", "incarnation": "00ab", "there": true },
                { "name": "n3", "incarnation": "00cd", "there": true },
            ],
            "others": [{ "name": "n4", "there": true }],
            "full": ["n1"],
        }));
        assert!(page.contains("! n1: its disk is full"), "{page}");
        let page = page.replace("! n1: its disk is full down to the reserve: the change may wait for room there\n", "");
        let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [
                vec!["epoch", "2,", "changing"],
                vec!["n1", "votes", "there", "00ab"],
                vec!["n?2", "joins", "away", "00ef"],
                vec!["n3", "leaves", "there", "00cd"],
                vec!["n4", "no", "place", "there", "-"],
            ]
        );
        assert_eq!(super::page(&json!({ "epoch": 0 })), "no member list yet\n");
    }
}
