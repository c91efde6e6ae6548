//! `boveda access create`, `list`, `show`, `rotate`, `disable`, `enable`, `revoke`: access keys, by way of any node; and
//! `generate`, which asks nobody.
//!
//! Invariants
//! - A secret goes to stdout, once, and nowhere else.
//! - What a node said cannot steer a terminal.

use super::client::{Answered, ClientError, Node};
use super::settings::Env;
use super::status_text::plain;
use super::whom::NodeArg;
use super::{Exit, print, refuse};
use crate::base::credential::secret_of;
use crate::base::{AccessKeyId, Credential, Grant, Secret};
use crate::config::units::parse_period;
use crate::seal::random;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATH: &str = "/v1/access";

/// Make, show, rotate and revoke access keys
///
/// A change goes by way of any node, and is in force on every node within a second. Who asks needs a key with admin on *,
/// where there is one: --profile FILE, or BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY.
#[derive(Debug, clap::Subcommand)]
pub enum Access {
    /// Make a key; its secret is shown once
    Create {
        /// What people call it
        name: String,
        /// What it allows: PATTERN[/PREFIX]:RIGHT,RIGHT; once for each. PATTERN is a bucket, or the beginning of its name
        /// and '*'. Rights: read, write, list, delete, admin, bypass, metrics
        #[arg(long, value_name = "GRANT", value_parser = grant)]
        grant: Vec<Grant>,
        /// Let nobody in by it after this time: 12h, 30d
        #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
        expires: Option<Duration>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show all keys, without their secrets
    List(Asked),
    /// Show a key, without its secrets
    Show(One),
    /// Give a key a new secret, shown once; the one before is accepted until it is dropped
    Rotate {
        #[command(flatten)]
        one: One,
        /// Make no secret: drop the one before the last rotation
        #[arg(long)]
        drop_old: bool,
    },
    /// Let nobody in by a key until it is enabled
    Disable(One),
    /// Let a disabled key in again
    Enable(One),
    /// Take a key back for good
    Revoke(One),
    /// Print a new id and secret that no node knows, for access.root_key_file
    Generate,
}

/// Which node, and how to print.
#[derive(Debug, clap::Args)]
pub struct Asked {
    #[command(flatten)]
    node: NodeArg,
    /// Print the node's answer as it is
    #[arg(long)]
    json: bool,
}

/// Which key.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The id of the key
    #[arg(value_parser = id)]
    id: AccessKeyId,
    #[command(flatten)]
    asked: Asked,
}

fn grant(text: &str) -> Result<Grant, String> {
    text.parse().map_err(|error: crate::base::GrantError| error.to_string())
}

fn id(text: &str) -> Result<AccessKeyId, &'static str> {
    AccessKeyId::parse(text.as_bytes()).ok_or("the id of a key has 20 characters of A-Z and 2-7")
}

impl Access {
    /// Does it and prints what came of it. Exits 1 when the node does not answer, or refuses.
    pub fn run(&self, env: &Env) -> ExitCode {
        let asked = match self {
            Access::Generate => return generate(),
            Access::Create { asked, .. } | Access::List(asked) => asked,
            Access::Show(one) | Access::Rotate { one, .. } => &one.asked,
            Access::Disable(one) | Access::Enable(one) | Access::Revoke(one) => &one.asked,
        };
        match asked.node.node(env).and_then(|node| self.ask(&node)) {
            Ok(answered) if asked.json => print(&format!("{}\n", answered.raw.trim_end())),
            Ok(answered) => print(&self.page(&answered.json)),
            Err(error) => refuse(&error, Exit::Failed),
        }
    }

    fn ask(&self, node: &Node) -> Result<Answered, ClientError> {
        let at = |one: &One, more: &str| format!("{PATH}/{}{more}", one.id);
        match self {
            Access::Create { name, grant, expires, .. } => {
                let grants: Vec<String> = grant.iter().map(Grant::to_string).collect();
                let wanted = json!({ "name": name, "grants": grants, "expires_ms": expires.map_or(0, from_now) });
                node.tell("POST", PATH, &wanted, "secret")
            }
            Access::List(_) | Access::Generate => node.ask("GET", PATH, "keys"),
            Access::Show(one) => node.ask("GET", &at(one, ""), "id"),
            Access::Rotate { one, drop_old: false } => node.ask("POST", &at(one, "/rotate"), "secret"),
            Access::Rotate { one, drop_old: true } => node.ask("POST", &at(one, "/rotate?drop=old"), "id"),
            Access::Disable(one) => node.ask("PUT", &at(one, "?state=disabled"), "id"),
            Access::Enable(one) => node.ask("PUT", &at(one, "?state=enabled"), "id"),
            Access::Revoke(one) => node.ask("DELETE", &at(one, ""), "id"),
        }
    }

    /// What people read.
    fn page(&self, json: &Value) -> String {
        let text = |name: &str| plain(json.get(name).and_then(Value::as_str).unwrap_or("-"));
        match self {
            Access::Create { .. } | Access::Rotate { drop_old: false, .. } => {
                format!("id      {}\nsecret  {}\n\nThe secret is shown this once.\n", text("id"), text("secret"))
            }
            Access::Rotate { .. } => format!("{} accepts its newest secret alone\n", text("id")),
            Access::Revoke(_) => format!("{} lets nobody in any more\n", text("id")),
            Access::List(_) | Access::Generate => {
                json.get("keys").and_then(Value::as_array).into_iter().flatten().map(row).collect()
            }
            Access::Show(_) | Access::Disable(_) | Access::Enable(_) => row(json),
        }
    }
}

/// So many milliseconds after 1970 it is then.
fn from_now(period: Duration) -> u64 {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + period;
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
}

fn generate() -> ExitCode {
    let key = Credential { id: AccessKeyId::drawn(random()), secret: Secret::new(secret_of(random())) };
    print(&String::from_utf8_lossy(key.to_json().expose()))
}

/// A key, on a line of its own with its grants below.
fn row(key: &Value) -> String {
    let text = |name: &str| plain(key.get(name).and_then(Value::as_str).unwrap_or("-"));
    let is = |name: &str| key.get(name).and_then(Value::as_bool) == Some(true);
    let state = match (is("in_force"), is("disabled")) {
        (true, _) => "in force",
        (false, true) => "disabled",
        (false, false) => "expired",
    };
    let mut out = format!("{}  {state:<8}  {}", text("id"), text("name"));
    if key.get("expires").is_some_and(Value::is_string) {
        let _ = write!(out, "  until {}", text("expires"));
    }
    if key.get("secrets").and_then(Value::as_u64) == Some(2) {
        out.push_str("  two secrets");
    }
    out.push('\n');
    for grant in key.get("grants").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(out, "    {}", plain(grant));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        access: Access,
    }

    fn parsed(line: &[&str]) -> Result<Access, String> {
        let line = Line::try_parse_from(["boveda"].iter().chain(line));
        line.map(|line| line.access).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_grant_and_no_id_is_told_before_anybody_is_asked() {
        let Ok(Access::Create { grant, expires, .. }) =
            parsed(&["create", "backups", "--grant", "b-*/x:read,list", "--grant", "*:metrics", "--expires", "30d"])
        else {
            panic!("a key")
        };
        assert_eq!((grant.len(), expires), (2, Some(Duration::from_secs(30 * 24 * 3600))));
        for (line, why) in [
            (&["create", "x", "--grant", "abc"][..], "PATTERN"),
            (&["create", "x", "--grant", "abc:fly"], "rights are read"),
            (&["create", "x", "--expires", "soon"], "--expires"),
            (&["show", "abc"], "20 characters"),
            (&["rotate"], "required"),
            (&["create"], "required"),
        ] {
            assert!(parsed(line).is_err_and(|told| told.contains(why)), "{line:?}: {:?}", parsed(line));
        }
    }

    #[test]
    fn keys_are_shown_with_what_they_allow() {
        let key = json!({
            "id": "A", "name": "back\u{1b}ups", "expires": "2026-01-01T00:00:00.000Z", "in_force": false,
            "disabled": false, "secrets": 2, "grants": ["abc:read", "*:metrics"],
        });
        assert_eq!(
            row(&key),
            "A  expired   back?ups  until 2026-01-01T00:00:00.000Z  two secrets\n    abc:read\n    *:metrics\n"
        );
        let page = Access::List(Asked { node: node_arg(), json: false }).page(&json!({ "keys": [key] }));
        assert!(page.starts_with("A  expired"), "{page}");
    }

    fn node_arg() -> NodeArg {
        let Ok(Access::List(asked)) = parsed(&["list"]) else { panic!("a list") };
        asked.node
    }
}
