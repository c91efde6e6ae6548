//! `boveda access create`, `list`, `show`, `rotate`, `disable`, `enable`, `revoke`: access keys, by way of any node; and
//! `generate`, which asks nobody. `public`: what of a bucket is open to everybody without a key.
//!
//! Invariants
//! - A secret goes to stdout, once, and nowhere else.
//! - What a node said cannot steer a terminal.

use super::client::{Answered, ClientError, Node};
use super::plain::plain;
use super::settings::Env;
use super::whom::Asked;
use super::{Exit, print, refuse};
use crate::base::credential::secret_of;
use crate::base::{AccessKeyId, BucketName, Credential, Grant, Secret};
use crate::config::units::parse_period;
use crate::seal::random;
use crate::sign::canonical::escaped;
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
    /// Show all keys, without their secrets, and what is open without one
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
    /// Open a bucket, or what in it begins with a prefix, to everybody without a key; or close it again
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["read", "list", "none"]))]
    Public {
        /// Which bucket, and what its keys begin with: BUCKET or BUCKET/PREFIX
        #[arg(value_name = "BUCKET[/PREFIX]", value_parser = part)]
        at: Part,
        /// Let everybody read what is there
        #[arg(long)]
        read: bool,
        /// Let everybody list what is there
        #[arg(long)]
        list: bool,
        /// Close it, with every longer prefix that is open
        #[arg(long, conflicts_with_all = ["read", "list"])]
        none: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Print a new id and secret that no node knows, for access.root_key_file
    Generate,
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

/// A part of a bucket: the keys that begin so, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    bucket: BucketName,
    prefix: String,
}

fn part(text: &str) -> Result<Part, String> {
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    let bucket = BucketName::parse(bucket).map_err(|error| error.to_string())?;
    Ok(Part { bucket, prefix: prefix.to_owned() })
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
            Access::Create { asked, .. } | Access::Public { asked, .. } | Access::List(asked) => asked,
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
            Access::Public { at: Part { bucket, prefix }, read, list, none, .. } => {
                let target = format!("/v1/buckets/{bucket}/public?prefix={}", escaped(prefix));
                let rights: Vec<_> = [(*read, "read"), (*list, "list")].iter().filter(|r| r.0).map(|r| r.1).collect();
                match none {
                    true => node.ask("DELETE", &target, "public"),
                    false => node.ask("PUT", &format!("{target}&rights={}", rights.join(",")), "public"),
                }
            }
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
                let all = |name: &str| json.get(name).and_then(Value::as_array).into_iter().flatten();
                all("keys").map(row).chain(all("public").map(|bucket| public(bucket, "grants"))).collect()
            }
            Access::Public { .. } => public(json, "public"),
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

/// What of a bucket is open to everybody, on a line of its own with the prefixes below.
fn public(bucket: &Value, grants: &str) -> String {
    let name = plain(bucket.get("bucket").and_then(Value::as_str).unwrap_or("-"));
    let grants: Vec<&Value> = bucket.get(grants).and_then(Value::as_array).into_iter().flatten().collect();
    if grants.is_empty() {
        return format!("{name}  closed: nobody reads or lists it without a key\n");
    }
    let mut out = format!("{name}  open to everybody without a key\n");
    for grant in grants {
        let prefix = plain(grant.get("prefix").and_then(Value::as_str).unwrap_or("-"));
        let rights = grant.get("rights").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let rights: Vec<String> = rights.map(plain).collect();
        let slash = if prefix.is_empty() { "" } else { "/" };
        let _ = writeln!(out, "    {name}{slash}{prefix}:{}", rights.join(","));
    }
    out
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
            (&["public", "Docs", "--read"], "a bucket name has"),
            (&["public", "docs"], "required"),
            (&["public", "docs", "--none", "--read"], "cannot be used"),
            (&["create"], "required"),
        ] {
            assert!(parsed(line).is_err_and(|told| told.contains(why)), "{line:?}: {:?}", parsed(line));
        }
    }

    #[test]
    fn what_is_open_is_shown_as_grants_are_written() {
        let Ok(Access::Public { at, read: true, list: false, none: false, .. }) =
            parsed(&["public", "docs/a/b", "--read"])
        else {
            panic!("a part")
        };
        assert_eq!((at.bucket.as_str(), at.prefix.as_str()), ("docs", "a/b"));
        let grants =
            json!([{ "prefix": "", "rights": ["list"] }, { "prefix": "a\u{1b}/", "rights": ["read", "list"] }]);
        let shown = public(&json!({ "bucket": "docs", "public": grants }), "public");
        assert_eq!(shown, "docs  open to everybody without a key\n    docs:list\n    docs/a?/:read,list\n");
        assert!(public(&json!({ "bucket": "docs", "public": [] }), "public").starts_with("docs  closed"));
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

    fn node_arg() -> crate::cli::whom::NodeArg {
        let Ok(Access::List(asked)) = parsed(&["list"]) else { panic!("a list") };
        asked.node
    }
}
