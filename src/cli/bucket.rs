//! `boveda bucket list`, `show`, `create`, `delete`, `quota`, `etag`: buckets, what they hold and how much they may, and what
//! clients of S3 know their objects by, by way of any node.
//!
//! Invariant: what a node said cannot steer a terminal.

use super::client::{Answered, ClientError, Node};
use super::plain::plain;
use super::settings::Env;
use super::status_text::size_of;
use super::whom::Asked;
use super::{Exit, print, refuse};
use crate::base::{BucketName, EtagMode};
use crate::config::units::parse_size;
use serde_json::Value;
use std::process::ExitCode;

const PATH: &str = "/v1/buckets";

/// Make, show and delete buckets, and say how much they may hold
///
/// What a bucket holds is what the node that answers holds of it. Who asks needs the right list on a bucket to see it, and
/// admin to change it: --profile FILE, or BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY.
#[derive(Debug, clap::Subcommand)]
pub enum Bucket {
    /// Show all buckets with what they hold
    List(Asked),
    /// Show a bucket with what it holds
    Show(One),
    /// Make a bucket; one that is there stays as it is
    Create(One),
    /// Delete a bucket that holds nothing
    Delete(One),
    /// Say how much a bucket may hold
    ///
    /// A write that would bring the bucket above is refused with 403 QuotaExceeded; deletes always pass, and a bucket that
    /// holds more already can shrink. What is not given of the two is not limited.
    Quota {
        #[command(flatten)]
        one: One,
        /// At most so many objects
        #[arg(long, value_name = "COUNT")]
        objects: Option<u64>,
        /// At most so many bytes of objects: 500GiB
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        bytes: Option<u64>,
        /// As much as there is room for
        #[arg(long, conflicts_with_all = ["objects", "bytes"], required_unless_present_any = ["objects", "bytes"])]
        none: bool,
    },
    /// Say what clients of S3 know by what they write into a bucket from now on
    ///
    /// fast saves the processor the MD5, which costs more than all the rest of a large upload. ETags are no MD5s then, and
    /// end in -1; what sends Content-MD5 has it compared all the same. Some clients compare them: GitLab does.
    Etag {
        #[command(flatten)]
        one: One,
        /// md5, as S3 has it, or fast
        #[arg(value_parser = mode)]
        mode: EtagMode,
    },
}

/// Which bucket.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The bucket
    #[arg(value_parser = name)]
    bucket: BucketName,
    #[command(flatten)]
    asked: Asked,
}

fn name(text: &str) -> Result<BucketName, String> {
    BucketName::parse(text).map_err(|error| error.to_string())
}

fn mode(text: &str) -> Result<EtagMode, String> {
    EtagMode::parse(text).ok_or_else(|| "it is md5 or fast".to_owned())
}

impl Bucket {
    /// Does it and prints what came of it. Exits 1 when the node does not answer, or refuses.
    pub fn run(&self, env: &Env) -> ExitCode {
        let asked = match self {
            Bucket::List(asked) => asked,
            Bucket::Show(one) | Bucket::Create(one) | Bucket::Delete(one) => &one.asked,
            Bucket::Quota { one, .. } | Bucket::Etag { one, .. } => &one.asked,
        };
        match asked.node.node(env).and_then(|node| self.ask(&node)) {
            Ok(answered) if asked.json => print(&format!("{}\n", answered.raw.trim_end())),
            Ok(answered) => print(&self.page(&answered.json)),
            Err(error) => refuse(&error, Exit::Failed),
        }
    }

    fn ask(&self, node: &Node) -> Result<Answered, ClientError> {
        let at = |one: &One, more: &str| format!("{PATH}/{}{more}", one.bucket);
        match self {
            Bucket::List(_) => node.ask("GET", PATH, "buckets"),
            Bucket::Show(one) => node.ask("GET", &at(one, ""), "name"),
            Bucket::Create(one) => {
                node.have("PUT", &at(one, ""))?;
                node.ask("GET", &at(one, ""), "name")
            }
            Bucket::Delete(one) => node.have("DELETE", &at(one, "")),
            Bucket::Quota { one, none: true, .. } => node.ask("DELETE", &at(one, "/quota"), "quota"),
            Bucket::Quota { one, objects, bytes, .. } => {
                let parameter = |name: &str, most: Option<u64>| most.map(|most| format!("{name}={most}"));
                let parameters = [parameter("objects", *objects), parameter("bytes", *bytes)];
                let parameters: Vec<_> = parameters.into_iter().flatten().collect();
                node.ask("PUT", &at(one, &format!("/quota?{}", parameters.join("&"))), "quota")
            }
            Bucket::Etag { one, mode } => node.ask("PUT", &at(one, &format!("/etag?mode={}", mode.as_str())), "etag"),
        }
    }

    /// What people read.
    fn page(&self, json: &Value) -> String {
        match self {
            Bucket::List(_) => json.get("buckets").and_then(Value::as_array).into_iter().flatten().map(row).collect(),
            Bucket::Show(_) | Bucket::Create(_) => row(json),
            Bucket::Delete(one) => format!("{} is gone\n", one.bucket),
            Bucket::Quota { one, .. } => format!("{} may hold {}\n", one.bucket, limit(json)),
            Bucket::Etag { one, mode } => format!("ETags of {} are {} from now on\n", one.bucket, mode.as_str()),
        }
    }
}

/// A bucket in one line: what it holds, and how much it may.
fn row(bucket: &Value) -> String {
    let number = |path: &str| bucket.pointer(path).and_then(Value::as_u64);
    let objects = number("/usage/objects").map_or_else(|| "-".to_owned(), |objects| objects.to_string());
    let bytes = number("/usage/bytes").map_or_else(|| "-".to_owned(), size_of);
    let name = plain(bucket.get("name").and_then(Value::as_str).unwrap_or("-"));
    let fast = if bucket.get("etag").is_some_and(|mode| mode == EtagMode::Fast.as_str()) { ", fast ETags" } else { "" };
    format!("{name:<24} {objects:>12} objects {bytes:>12}   {}{fast}\n", limit(bucket))
}

/// The quota in an answer, as people read it.
fn limit(json: &Value) -> String {
    let number = |path: &str| json.pointer(path).and_then(Value::as_u64);
    match (number("/quota/objects"), number("/quota/bytes")) {
        // Who has no grant in the bucket is not told.
        (None, None) if json.get("quota").is_none() => "-".to_owned(),
        (None, None) => "no quota".to_owned(),
        (Some(objects), None) => format!("{objects} objects at most"),
        (None, Some(bytes)) => format!("{} at most", size_of(bytes)),
        (Some(objects), Some(bytes)) => format!("{objects} objects and {} at most", size_of(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        bucket: Bucket,
    }

    fn parsed(line: &[&str]) -> Result<Bucket, String> {
        let line = Line::try_parse_from(["boveda"].iter().chain(line));
        line.map(|line| line.bucket).map_err(|error| error.to_string())
    }

    #[test]
    fn a_quota_says_how_much_or_that_there_is_none() {
        let quota = parsed(&["quota", "abc", "--bytes", "2GiB"]);
        assert!(matches!(quota, Ok(Bucket::Quota { objects: None, bytes: Some(0x8000_0000), none: false, .. })));
        assert!(matches!(parsed(&["quota", "abc", "--none"]), Ok(Bucket::Quota { none: true, .. })));
        for (line, why) in [
            (&["quota", "abc"][..], "required"),
            (&["quota", "abc", "--none", "--objects", "1"], "cannot be used"),
            (&["quota", "abc", "--bytes", "2"], "not a size"),
            (&["show", "A"], "A"),
            (&["etag", "abc", "sha"], "md5 or fast"),
            (&["etag", "abc"], "required"),
        ] {
            assert!(parsed(line).is_err_and(|told| told.contains(why)), "{line:?}: {:?}", parsed(line));
        }
    }

    #[test]
    fn buckets_are_shown_with_what_they_hold_and_may() {
        let bucket = |quota| json!({ "name": "a\u{1b}b", "usage": { "objects": 7, "bytes": 2048 }, "quota": quota });
        let end = |quota| row(&bucket(quota)).split("2.0 KiB").nth(1).map(|end| end.trim().to_owned());
        assert!(row(&bucket(Value::Null)).starts_with("a?b   "));
        let untold = row(&json!({ "name": "abc" }));
        assert_eq!(untold.split_whitespace().collect::<Vec<_>>(), ["abc", "-", "objects", "-", "-"]);
        assert_eq!(end(json!({ "objects": null, "bytes": null })).as_deref(), Some("no quota"));
        let fast = json!({ "name": "abc", "quota": { "objects": null, "bytes": null }, "etag": "fast" });
        assert!(row(&fast).ends_with("   no quota, fast ETags\n"), "{}", row(&fast));
        assert!(matches!(parsed(&["etag", "abc", "fast"]), Ok(Bucket::Etag { mode: EtagMode::Fast, .. })));
        assert_eq!(end(json!({ "objects": 9, "bytes": null })).as_deref(), Some("9 objects at most"));
        assert_eq!(end(json!({ "objects": 9, "bytes": 1024 })).as_deref(), Some("9 objects and 1.0 KiB at most"));
    }
}
