//! `boveda demo`: three nodes in one process, to see a cluster without building one.

use super::settings::Env;
use super::{Exit, refuse};
use crate::config::{Config, ConfigError, Flag, load};
use std::process::ExitCode;

const NODES: u16 = 3;
/// Distance between the ports of one node and the next.
const PORT_STEP: u16 = 10;
/// Distance from a node's HTTP port to its S3 port.
const S3_OFFSET: u16 = 1;
/// Distance from a node's HTTP port to its peer port.
const PEER_OFFSET: u16 = 2;
const LAST_OFFSET: u16 = (NODES - 1) * PORT_STEP + PEER_OFFSET;

/// Run three nodes in one process on this machine
///
/// HTTP on 5000, 5010 and 5020, S3 on 5001, 5011 and 5021, peers on 5002, 5012 and 5022, all on 127.0.0.1.
/// Data and keys stay in the directory, so a second start goes on where the first ended.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Directory for the data and the keys of all three
    #[arg(long, value_name = "DIR", default_value = "./boveda-demo")]
    data: String,
    /// HTTP port of the first node
    #[arg(long, value_name = "PORT", default_value_t = 5000,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(u16::MAX - LAST_OFFSET)))]
    base_port: u16,
}

impl Demo {
    /// Runs the three nodes until they are told to stop.
    pub fn run(&self, env: &Env) -> ExitCode {
        match self.configs(env) {
            Ok(configs) => crate::node::demo(configs),
            Err(error) => refuse(&error, Exit::Usage),
        }
    }

    /// The nodes' settings. The environment sets what the demonstration leaves open.
    fn configs(&self, env: &Env) -> Result<Vec<Config>, ConfigError> {
        let port = |node: u16, offset: u16| self.base_port + (node - 1) * PORT_STEP + offset;
        let peers: Vec<String> =
            (1..=NODES).map(|n| format!("boveda-{n}=http://127.0.0.1:{}", port(n, PEER_OFFSET))).collect();
        let config = |n: u16| {
            let flags = [
                ("--data", "node.data", format!("{}/boveda-{n}", self.data)),
                ("--data", "node.key_dir", format!("{}/keys", self.data)),
                ("--base-port", "node.name", format!("boveda-{n}")),
                ("--base-port", "http.listen", format!("127.0.0.1:{}", port(n, 0))),
                ("--base-port", "s3.listen", format!("127.0.0.1:{}", port(n, S3_OFFSET))),
                ("--base-port", "peer.listen", format!("127.0.0.1:{}", port(n, PEER_OFFSET))),
                ("--base-port", "cluster.peers", peers.join(",")),
            ];
            let flags = flags.map(|(name, key, text)| Flag { name, key, text });
            load(None, env, &flags).map(|loaded| loaded.config)
        };
        (1..=NODES).map(config).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_with_one_ring_and_their_own_ports() {
        let env = Env::from([("BOVEDA_NODE_LOG".to_owned(), "warn".to_owned())]);
        let demo = Demo { data: "/d".to_owned(), base_port: 5000 };
        let configs = demo.configs(&env).unwrap();
        let show = |c: &Config| {
            let peers: Vec<_> = c.others().map(|p| p.url.to_string()).collect();
            let listen =
                [c.http.listen, c.s3.listen.expect("it is on"), c.peer.listen].map(|at| at.to_string()).join(" ");
            format!("{} {} {listen} {}", c.node.name, c.node.data.display(), peers.join(" "))
        };
        assert_eq!(
            configs.iter().map(show).collect::<Vec<_>>(),
            [
                "boveda-1 /d/boveda-1 127.0.0.1:5000 127.0.0.1:5001 127.0.0.1:5002 http://127.0.0.1:5012 http://127.0.0.1:5022",
                "boveda-2 /d/boveda-2 127.0.0.1:5010 127.0.0.1:5011 127.0.0.1:5012 http://127.0.0.1:5002 http://127.0.0.1:5022",
                "boveda-3 /d/boveda-3 127.0.0.1:5020 127.0.0.1:5021 127.0.0.1:5022 http://127.0.0.1:5002 http://127.0.0.1:5012",
            ]
        );
        assert!(configs.iter().all(|c| c.node.key_dir == std::path::Path::new("/d/keys") && c.node.log == "warn"));
        let last = Demo { data: "/d".to_owned(), base_port: u16::MAX - LAST_OFFSET };
        assert_eq!(last.configs(&env).unwrap()[2].peer.listen.port(), u16::MAX);
    }
}
