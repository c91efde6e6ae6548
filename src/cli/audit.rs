//! `boveda audit show`, `check`, `accept`: who changed what, and whether all of that is there.
//!
//! Invariants
//! - A page after the other is asked for, so that nobody holds more than one.
//! - What stands in a line cannot steer a terminal.

use super::client::{ClientError, Node};
use super::plain::plain;
use super::settings::{DataArg, Env, FileArg, KeyDirArg};
use super::whom::{Asked, NodeArg};
use super::{Exit, print, refuse};
use crate::audit::query::Query;
use crate::base::NodeName;
use crate::base::dates::{parse, rfc3339};
use crate::config::units::parse_period;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATH: &str = "/v1/audit";
const CHECK: &str = "/v1/audit/check";
/// A whole log is read for a check.
const CHECK_SILENCE: Duration = Duration::from_secs(600);
const PAGE_LINES: usize = 1_000;

/// Show who changed what and who was refused, and check that nothing of it is gone
///
/// Each node has a log of its own, of what it was asked. Who asks needs a key with admin on *, where there is one.
#[derive(Debug, clap::Subcommand)]
pub enum Audit {
    /// Print lines, oldest first
    Show(Show),
    /// Check a node's log, against itself and against what the other nodes remember of it; exits 3 on a finding
    Check(Asked),
    /// Say that a finding was looked into: it is told no more
    Accept {
        /// Of the log of which node
        #[arg(value_parser = node_name)]
        name: NodeName,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Which lines, and of which log.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// From this time on: 2026-11-24, 2026-11-24T10:20Z, or so long ago: 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
    /// Of this access key, by its id; anonymous: of who had none
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Of this action, or of all that begin so: access, bucket:create
    #[arg(long)]
    action: Option<String>,
    /// Of this node alone
    #[arg(long = "node", value_name = "NAME", value_parser = node_name)]
    of: Option<NodeName>,
    /// Read the log of a data directory that no node uses, instead of asking a node
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    keys: KeyDirArg,
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    node: NodeArg,
    /// Print each line as JSON
    #[arg(long)]
    json: bool,
}

fn node_name(text: &str) -> Result<NodeName, &'static str> {
    NodeName::parse(text).ok_or("this is no name of a node")
}

/// A date, or so long ago; in milliseconds since 1970.
fn time(text: &str) -> Result<u64, String> {
    if let Some(ms) = parse(text) {
        return Ok(ms);
    }
    let ago = parse_period(text)
        .map_err(|_| "a time is 2026-11-24, 2026-11-24T10:20:30Z, or so long ago: 12h, 30d".to_owned())?;
    let then =
        SystemTime::now().checked_sub(ago).and_then(|then| then.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(u64::try_from(then.as_millis()).unwrap_or(u64::MAX))
}

impl Audit {
    /// Asks and prints. Exits 1 when the node does not answer, or refuses; 3 on a finding.
    pub fn run(&self, env: &Env) -> ExitCode {
        let (asked, method, path) = match self {
            Audit::Show(show) => return show.run(env),
            Audit::Check(asked) => (asked, "GET", CHECK.to_owned()),
            Audit::Accept { name, asked } => (asked, "PUT", format!("{CHECK}?accept={name}")),
        };
        let answered = asked.node.node(env).and_then(|node| node.ask_patiently(method, &path, "whole", CHECK_SILENCE));
        match answered {
            Ok(answered) => {
                let page = match asked.json {
                    true => format!("{}\n", answered.raw.trim_end()),
                    false => check_page(&answered.json),
                };
                let printed = print(&page);
                if answered.json["whole"] == true { printed } else { Exit::Partly.into() }
            }
            Err(error) => refuse(&error, Exit::Failed),
        }
    }
}

impl Show {
    fn run(&self, env: &Env) -> ExitCode {
        match self.offline {
            true => self.read(env),
            false => match self.node.node(env).and_then(|node| self.ask(&node)) {
                Ok(exit) => exit,
                Err(error) => refuse(&error, Exit::Failed),
            },
        }
    }

    /// Prints page after page of a node's log.
    fn ask(&self, node: &Node) -> Result<ExitCode, ClientError> {
        let mut query = String::new();
        let texts = [("actor", &self.actor), ("action", &self.action)];
        let times = [("since", self.since), ("until", self.until)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        for (name, text) in texts.chain(times.into_iter().filter_map(|(name, ms)| Some((name, rfc3339(ms?))))) {
            let text = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
            let _ = write!(query, "&{name}={text}");
        }
        let mut after = 0;
        loop {
            let target = format!("{PATH}?after={after}&limit={PAGE_LINES}{query}");
            let page = node.ask_patiently("GET", &target, "lines", CHECK_SILENCE)?.json;
            let printed = self.print(page["lines"].as_array().into_iter().flatten());
            match page["next"].as_u64().filter(|next| *next > after) {
                Some(next) if printed == ExitCode::SUCCESS => after = next,
                _ => return Ok(printed),
            }
        }
    }

    /// Prints page after page of a directory's log.
    fn read(&self, env: &Env) -> ExitCode {
        let mut flags = self.data.flags();
        flags.extend(self.keys.flags());
        let config = match self.file.load(env, &flags) {
            Ok(loaded) => loaded.config,
            Err(error) => return refuse(&error, Exit::Usage),
        };
        let mut query = Query {
            since_ms: self.since.unwrap_or_default(),
            until_ms: self.until,
            actor: self.actor.clone(),
            action: self.action.clone(),
            limit: PAGE_LINES,
            ..Query::default()
        };
        loop {
            let page = match crate::node::read_audit(&config, &query) {
                Ok(page) => page,
                Err(error) => return refuse(&error, error.exit()),
            };
            let lines: Vec<Value> = page.lines.iter().filter_map(|line| serde_json::to_value(line).ok()).collect();
            let printed = self.print(lines.iter());
            match page.next {
                Some(next) if printed == ExitCode::SUCCESS => query.after = next,
                _ => return printed,
            }
        }
    }

    fn print<'a>(&self, lines: impl Iterator<Item = &'a Value>) -> ExitCode {
        let of = |line: &&Value| self.of.as_ref().is_none_or(|name| line["node"] == name.as_str());
        let text: String =
            lines.filter(of).map(|line| if self.json { format!("{line}\n") } else { row(line) }).collect();
        print(&text)
    }
}

/// A line for people: when, where, who, what, to what, how it went.
fn row(line: &Value) -> String {
    let text = |name: &str| plain(line.get(name).and_then(Value::as_str).unwrap_or_default());
    let mut out = format!("{}  {}  {}", text("time"), text("node"), text("actor"));
    if line["by_link"] == true {
        out.push_str(" (by a link)");
    }
    if line.get("claims").is_some() {
        let _ = write!(out, " (says {})", text("claims"));
    }
    if line.get("address").is_some() {
        let _ = write!(out, " from {}", text("address"));
    }
    let _ = write!(out, "  {}  {}", text("action"), text("outcome"));
    if let Some(count) = line["count"].as_u64() {
        let _ = write!(out, " {count} times");
    }
    if line.get("target").is_some() {
        let _ = write!(out, "  {}", text("target"));
    }
    if line.get("code").is_some() {
        let _ = write!(out, "  {}", text("code"));
    }
    let side = |name: &str| line["change"].get(name).map(|side| plain(&side.to_string()));
    match (side("old"), side("new")) {
        (Some(old), Some(new)) => drop(write!(out, "  {old} -> {new}")),
        (Some(one), None) | (None, Some(one)) => drop(write!(out, "  {one}")),
        (None, None) => {}
    }
    out.push('\n');
    out
}

/// What a check came to, for people: what is wrong stands last.
fn check_page(json: &Value) -> String {
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap_or_default();
    let text = |value: &Value, name: &str| plain(value[name].as_str().unwrap_or("-"));
    let each = |name: &str| json[name].as_array().cloned().unwrap_or_default();
    let mut out = format!(
        "{}: {} lines in {} files, {} to {}\n",
        text(json, "node"),
        number(json, "lines"),
        number(json, "files"),
        number(json, "first"),
        number(json, "last")
    );
    let (holds, gone): (Vec<_>, Vec<_>) = each("remembered_by").into_iter().partition(|one| one["holds"] == true);
    for one in holds {
        let _ = writeln!(out, "  {} remembers line {}, and it is there", text(&one, "node"), number(&one, "line"));
    }
    for one in gone {
        let _ = writeln!(out, "! {} remembers line {}, and it is GONE", text(&one, "node"), number(&one, "line"));
    }
    for one in each("findings") {
        let _ =
            writeln!(out, "! {}, behind line {}: {}", text(&one, "file"), number(&one, "after"), text(&one, "what"));
    }
    for one in each("remembers").iter().filter(|one| one["finding"].is_string()) {
        let _ = writeln!(out, "! {}: {}", text(one, "node"), text(one, "finding"));
    }
    if json["finding"].is_string() {
        let _ = writeln!(out, "! {}", text(json, "finding"));
    }
    out.push_str(match json["whole"] == true {
        true => "nothing is missing\n",
        false => "see docs/operations.md, 'Audit log'; when it was looked into: boveda audit accept NODE\n",
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_dates_or_so_long_ago() {
        assert_eq!(time("2026-11-24"), Ok(1_795_478_400_000));
        let (hour, now) = (time("1h").expect("a time"), time("0s").expect("a time"));
        assert!((3_599_000..=3_601_000).contains(&(now - hour)), "{hour} {now}");
        assert!(time("yesterday").is_err_and(|why| why.contains("12h")));
    }

    #[test]
    fn lines_are_shown_and_steer_no_terminal() {
        let line = json!({
            "sequence": 4, "time": "2026-11-24T10:20:30.000Z", "node": "n1", "actor": "anonymous", "claims": "A",
            "address": "10.0.0.1", "action": "object:read", "target": "b/\u{1b}k", "outcome": "refused", "status": 401,
            "code": "Unauthorized",
        });
        assert_eq!(
            row(&line),
            "2026-11-24T10:20:30.000Z  n1  anonymous (says A) from 10.0.0.1  object:read  refused  b/?k  Unauthorized\n"
        );
        let line =
            json!({ "actor": "A", "by_link": true, "address": "::1", "action": "object:read", "outcome": "done" });
        assert_eq!(row(&line), "    A (by a link) from ::1  object:read  done\n");
        let line =
            json!({ "action": "access:set", "outcome": "done", "change": { "old": [1], "new": [2] }, "count": 3 });
        assert!(row(&line).ends_with("access:set  done 3 times  [1] -> [2]\n"), "{}", row(&line));
    }

    #[test]
    fn a_finding_stands_last_with_what_to_do() {
        let page = check_page(&json!({
            "whole": false, "node": "n1", "lines": 5, "files": 1, "first": 1, "last": 5,
            "remembered_by": [{ "node": "n2", "line": 9, "holds": false }, { "node": "n3", "line": 5, "holds": true }],
            "findings": [{ "file": "000001.log", "after": 3, "what": "a line does not open" }],
        }));
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(
            lines[1..4],
            [
                "  n3 remembers line 5, and it is there",
                "! n2 remembers line 9, and it is GONE",
                "! 000001.log, behind line 3: a line does not open",
            ]
        );
        assert!(lines[4].contains("boveda audit accept"));
    }
}
