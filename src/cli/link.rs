//! `boveda link`: a link with which somebody without a key reads or stores one object, until it expires. Made here, of an
//! id and a secret, without asking a node.
//!
//! Invariant: the secret goes nowhere; the link does to stdout, and nothing else.

use super::settings::Env;
use super::url::Url;
use super::whom::credential;
use super::{Exit, print, refuse};
use crate::base::{BucketName, Credential, NameError, ObjectKey, ObjectName};
use crate::config::units::parse_period;
use crate::sign::object_link::{LinkError, ObjectLink, Use};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Print a link to one object, which works without a key until it expires
///
/// The link does what the key of whoever makes it may do, and ends with that key: revoke, disable or rotate it, and its
/// links end within a second. It is made here, by --profile FILE, or BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY; no node is
/// asked, and the object need not be there. When it expires is judged by the clock of the node that is asked.
#[derive(Debug, clap::Args)]
pub struct Link {
    /// Which object: BUCKET/KEY
    #[arg(value_name = "BUCKET/KEY", value_parser = object)]
    at: ObjectName,
    /// What it is for: GET or PUT
    #[arg(long, default_value = "GET", value_parser = ["GET", "PUT"], ignore_case = true)]
    method: String,
    /// Until when it works: 1s to 7d
    #[arg(long, value_name = "PERIOD", default_value = "1h", value_parser = parse_period)]
    expires: Duration,
    /// Under which file name a browser keeps what it reads
    #[arg(long, value_name = "NAME")]
    filename: Option<String>,
    /// The Content-Type that has to come with what is stored
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// How many bytes may be stored at most
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// Where the link leads: the node's HTTP port as its users reach it, also through a proxy
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: Url,
    /// Read the access key from this file, as `boveda access create --json` prints it
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

fn object(text: &str) -> Result<ObjectName, String> {
    let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
    let name = || Ok(ObjectName { bucket: BucketName::parse(bucket)?, key: ObjectKey::parse(key)? });
    name().map_err(|error: NameError| error.to_string())
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("--filename is for GET, --content-type and --max-bytes are for PUT")]
    OtherMethod,
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Link {
    /// Makes and prints it.
    pub fn run(&self, env: &Env) -> ExitCode {
        let key = match credential(self.profile.as_deref(), env) {
            Ok(Some(key)) => key,
            Ok(None) => {
                let needed =
                    "a link is signed by an access key: --profile FILE, or BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY";
                return refuse(&needed, Exit::Usage);
            }
            Err(error) => return refuse(&error, Exit::Failed),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.made(&key, now.as_secs()) {
            Ok(link) => print(&format!("{link}\n")),
            Err(why) => refuse(&why, Exit::Usage),
        }
    }

    fn made(&self, key: &Credential, at_s: u64) -> Result<String, Refused> {
        let to = match (self.method.eq_ignore_ascii_case("PUT"), &self.filename, &self.content_type, self.max_bytes) {
            (false, file_name, None, None) => Use::Get { file_name: file_name.clone() },
            (true, None, content_type, bytes_max) => Use::Put { content_type: content_type.clone(), bytes_max },
            _ => return Err(Refused::OtherMethod),
        };
        let host = self.url.as_browsers_send_it();
        let link = ObjectLink { at: &self.at, to: &to, host: &host, at_s, expires_s: self.expires.as_secs() };
        let scheme = if self.url.tls { "https" } else { "http" };
        Ok(format!("{scheme}://{host}{}", link.target_by(key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        link: Link,
    }

    fn made(line: &[&str]) -> Result<String, String> {
        let key = Credential::of(&"A".repeat(20), &"B".repeat(40)).expect("a key");
        let line = Line::try_parse_from(["boveda"].iter().chain(line)).map_err(|error| error.to_string())?;
        line.link.made(&key, 1_700_000_000).map_err(|error| error.to_string())
    }

    #[test]
    fn a_link_leads_where_its_users_reach_the_node() {
        let link = made(&["docs/a b", "--url", "https://Files.example.org:443", "--expires", "7d"]).expect("a link");
        assert!(link.starts_with("https://files.example.org/v1/objects/docs/a%20b?X-Amz-Algorithm="), "{link}");
        assert!(link.contains("&X-Amz-Expires=604800&"), "{link}");
        let link = made(&["docs/k", "--method", "put", "--max-bytes", "9"]).expect("a link");
        assert!(link.starts_with("http://127.0.0.1:5000/v1/objects/docs/k?"), "{link}");
        assert!(link.contains("&X-Boveda-Max-Bytes=9&"), "{link}");
    }

    #[test]
    fn what_no_link_can_say_is_told() {
        for (line, why) in [
            (&["docs"][..], "an object key has"),
            (&["Docs/k"], "a bucket name has"),
            (&["docs/k", "--method", "DELETE"], "possible values"),
            (&["docs/k", "--expires", "8d"], "1 second to 7 days"),
            (&["docs/k", "--expires", "0s"], "1 second to 7 days"),
            (&["docs/k", "--max-bytes", "9"], "are for PUT"),
            (&["docs/k", "--method", "PUT", "--filename", "n"], "is for GET"),
        ] {
            assert!(made(line).is_err_and(|told| told.contains(why)), "{line:?}: {:?}", made(line));
        }
    }
}
