//! `boveda key rotate`: another generation of the cluster's key seals, by way of any node.
//!
//! Invariants
//! - Nothing is asked twice: whether it was decided is what the node says.
//! - How far it has come is told on a terminal, and to nobody else.

use super::client::{Answered, ClientError, Node};
use super::keys_text::{is_done, older, progress};
use super::settings::Env;
use super::whom::NodeArg;
use super::{Exit, print, refuse};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PATH: &str = "/v1/cluster/keys";
/// How often is looked how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a node may be silent meanwhile: it may be restarted.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Which node, which generation, and how to print.
#[derive(Debug, clap::Args)]
pub struct Rotate {
    #[command(flatten)]
    node: NodeArg,
    /// The number of the generation [default: the newest that the node holds]
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u32>,
    /// Wait until no member needs an older generation any more
    #[arg(long)]
    wait: bool,
    /// Print the node's answer as it is; with --wait, what it says in the end
    #[arg(long)]
    json: bool,
}

impl Rotate {
    /// Asks for it and prints what came of it. Exits 1 when the node does not answer, or refuses.
    pub fn run(&self, env: &Env) -> ExitCode {
        let done = self.node.node(env).and_then(|node| {
            let decided = self.decide(&node)?;
            let ended = if self.wait { Some(wait(&node, number(&decided.json))?) } else { None };
            Ok((decided, ended))
        });
        match done {
            Ok((decided, ended)) if self.json => {
                let answered = ended.unwrap_or(decided);
                print(&format!("{}\n", answered.raw.trim_end()))
            }
            Ok((decided, ended)) => print(&page(&decided.json, ended.as_ref().map(|ended| &ended.json))),
            Err(error) => refuse(&error, Exit::Failed),
        }
    }

    fn decide(&self, node: &Node) -> Result<Answered, ClientError> {
        let query = self.generation.map(|number| format!("?generation={number}")).unwrap_or_default();
        node.ask("POST", &format!("{PATH}{query}"), "generation")
    }
}

/// Waits until that generation seals and no member needs an older one; what the node says then.
fn wait(node: &Node, decided: u64) -> Result<Answered, ClientError> {
    let mut stderr = std::io::stderr();
    let is_seen = stderr.is_terminal();
    let mut heard = Instant::now();
    loop {
        match node.ask("GET", PATH, "generations") {
            Ok(answered) if is_done(&answered.json, decided) => {
                if is_seen {
                    let _ = writeln!(stderr, "\r\x1b[K");
                }
                return Ok(answered);
            }
            Ok(answered) => {
                heard = Instant::now();
                if is_seen {
                    let _ = write!(stderr, "\r\x1b[K{}", progress(&answered.json));
                    let _ = stderr.flush();
                }
            }
            Err(error) if heard.elapsed() > SILENCE_MAX => return Err(error),
            Err(_) => {}
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn number(decided: &Value) -> u64 {
    decided.get("generation").and_then(Value::as_u64).unwrap_or(0)
}

fn page(decided: &Value, ended: Option<&Value>) -> String {
    let number = number(decided);
    let id = super::plain::plain(decided.get("id").and_then(Value::as_str).unwrap_or("-"));
    let seals = format!("generation {number}  id {id}  seals from now on\n");
    let Some(ended) = ended else {
        return seals + "what lies under older ones is sealed anew: `boveda status` shows how far that is\n";
    };
    let gone: Vec<_> = older(ended).filter_map(|key| key.get("number")?.as_u64()).map(|n| n.to_string()).collect();
    match gone.is_empty() {
        true => seals,
        false => format!(
            "{seals}no member needs generation {} any more: see docs/operations.md before its file goes\n",
            gone.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_came_of_it_is_said_in_a_line_or_two() {
        let decided = json!({ "generation": 2, "id": "bb\u{1b}" });
        let keys = json!({ "generations": [{ "number": 1, "removable": true }, { "number": 2, "active": true }] });
        assert_eq!(
            page(&decided, Some(&keys)),
            "generation 2  id bb?  seals from now on\nno member needs generation 1 any more: see docs/operations.md before its \
             file goes\n"
        );
        assert!(page(&decided, None).contains("`boveda status` shows how far"));
        let alone = json!({ "generations": [{ "number": 2, "active": true }] });
        assert_eq!(page(&decided, Some(&alone)).lines().count(), 1, "there never was another one");
    }
}
