//! The audit log of a node: opened beside the store, told to the peers, and what the node itself writes there.
//!
//! Invariants
//! - A line says that the node has started before it serves, and one that it has stopped, when it stops in order.
//! - Who is turned away at the peer port has a line, or is counted in one; for all that is known of such a caller, that is
//!   an address.
//! - A member list that comes into force here, and a key generation that opens or seals, has a line on each node, whoever
//!   asked for it.
//! - What is wrong with the log degrades readiness by name, and stops no node.

use super::error::NodeError;
use super::key_source::KeySource;
use super::keys;
use super::lock::lock;
use crate::actors::peer::node_view::PeerAudit;
use crate::audit::line::{ANONYMOUS, NODE, OPERATOR};
use crate::audit::memory::Said;
use crate::audit::query::{Page, Query};
use crate::audit::writer::Writer;
use crate::audit::{self, Audit, AuditError, DIR, Line, Outcome, Place, Setup};
use crate::base::{Epoch, Incarnation, KekId, NodeName};
use crate::config::Config;
use crate::disk::{Disk, RealDisk, ShadowDisk};
use crate::http::Readiness;
use crate::register::Start;
use crate::seal::keyring::Keyring;
use crate::store::Store;
use crate::wire::{AuditNews, Refusal};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The name of the condition.
const CONDITION: &str = "audit";
/// How often the node looks what has become of its members and keys.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn place(config: &Config, ring: &Arc<Keyring>, disk: Arc<dyn Disk>) -> Place {
    Place {
        disk,
        dir: config.node.data.join(DIR),
        ring: Arc::clone(ring),
        node: config.node.name.to_string(),
        keep: config.audit.keep,
        begins: Arc::default(),
    }
}

/// Opens the log, and starts its thread.
pub(super) fn start(config: &Config, ring: &Arc<Keyring>, store: &Arc<Store>) -> Result<Audit, NodeError> {
    let room = Arc::downgrade(store);
    let low = Box::new(move || room.upgrade().is_some_and(|store: Arc<Store>| store.is_low()));
    let setup = Setup { place: place(config, ring, Arc::new(RealDisk)), objects: config.audit.objects, low };
    Audit::start(setup).map_err(|source| NodeError::Start { what: "the audit log", source })
}

/// What the heartbeats of a node say of its log, and the lines of callers at its peer port.
pub(super) struct ForPeers(pub Audit);

impl PeerAudit for ForPeers {
    fn news(&self, to: &NodeName) -> AuditNews {
        AuditNews { own: self.0.ends(), yours: self.0.remembered(to) }
    }

    fn heard(&self, from: &NodeName, incarnation: Incarnation, start: Start, news: &AuditNews) {
        if let Some((opened, head)) = news.own {
            self.0.heard(from, Said { incarnation, start: start.number, opened, head });
        }
        if let Some((before, last)) = news.yours {
            self.0.told(from, before, last);
        }
    }

    fn turned_away(&self, from: IpAddr, refusal: Refusal) {
        let line = || Line {
            address: Some(from.to_canonical().to_string()),
            status: Some(refusal.status()),
            code: Some(refusal.name().to_owned()),
            ..Line::of(ANONYMOUS, "peer:call", Outcome::Refused)
        };
        self.0.refused(line, Some(from));
    }
}

/// Says that the node has started, and writes from now on what becomes of its members and keys.
pub(super) async fn begin(
    audit: &Audit,
    config: &Config,
    ring: &Arc<Keyring>,
    store: &Arc<Store>,
    readiness: &Readiness,
) {
    let mut seen = Seen::of(ring, store);
    let started = serde_json::json!({
        "release": env!("CARGO_PKG_VERSION"), "incarnation": store.incarnation().to_string(), "listen": config.http.listen.to_string(),
        "s3_listen": config.s3.listen.map(|at| at.to_string()).unwrap_or_default(),
        "tls": config.tls.is_on(), "insecure_open": config.http.insecure_open, "objects": config.audit.objects,
        "generations": seen.generations, "seals": seen.seals.to_string(), "epoch": seen.epoch.0,
    });
    // What keeps it from being written is said by the log itself.
    let _ = audit.change(Line::of(NODE, "node:start", Outcome::Done).with_new(started)).await;
    let (audit, ring, store): (_, _, Weak<Store>) = (audit.clone(), Arc::clone(ring), Arc::downgrade(store));
    let readiness = readiness.clone();
    actix_rt::spawn(async move {
        loop {
            tell(&audit, &readiness);
            actix_rt::time::sleep(LOOK_EVERY).await;
            let Some(store) = store.upgrade() else { return };
            for line in seen.lines(&ring, &store) {
                let _ = audit.change(line).await;
            }
        }
    });
}

fn tell(audit: &Audit, readiness: &Readiness) {
    let status = audit.status();
    match (status.last_error, status.finding) {
        (Some(why), _) => {
            readiness.degraded(CONDITION, format!("the audit log takes no lines, and so no changes are made: {why}"))
        }
        (None, Some(what)) => readiness.degraded(CONDITION, format!("{what}; 'boveda audit check' says more")),
        (None, None) => readiness.present(CONDITION),
    }
}

/// What the node has written lines of.
struct Seen {
    epoch: Epoch,
    generations: Vec<u32>,
    seals: KekId,
}

impl Seen {
    fn of(ring: &Keyring, store: &Store) -> Self {
        Seen { epoch: store.voting().list.epoch, generations: numbers(ring), seals: ring.active() }
    }

    /// The lines of what has changed.
    fn lines(&mut self, ring: &Keyring, store: &Store) -> Vec<Line> {
        let mut lines = Vec::new();
        let voting = store.voting();
        if voting.list.epoch != self.epoch {
            self.epoch = voting.list.epoch;
            let members: Vec<String> = voting
                .node
                .roster
                .iter()
                .flat_map(|list| list.seats.iter().map(|seat| seat.name.to_string()))
                .collect();
            let new = serde_json::json!({ "epoch": self.epoch.0, "members": members });
            lines.push(Line::of(NODE, "members:enter", Outcome::Done).with_new(new));
        }
        let generations = numbers(ring);
        if generations != self.generations {
            let new = serde_json::json!({ "generations": generations });
            lines.push(Line::of(NODE, "key:take", Outcome::Done).with_new(new));
            self.generations = generations;
        }
        if ring.active() != self.seals {
            let old = std::mem::replace(&mut self.seals, ring.active());
            let mut line = Line::of(NODE, "key:seal", Outcome::Done);
            line.change = Some(audit::Change { old: old.to_string().into(), new: self.seals.to_string().into() });
            lines.push(line);
        }
        lines
    }
}

fn numbers(ring: &Keyring) -> Vec<u32> {
    ring.generations().iter().map(|(number, _)| *number).collect()
}

/// Ends the log of a node that stops.
pub(super) fn end(audit: &Audit) {
    audit.stop(Line::of(NODE, "node:stop", Outcome::Done));
}

/// Writes a line of a command on a directory that no node uses.
pub(super) fn write_offline(
    config: &Config,
    ring: &Arc<Keyring>,
    action: &str,
    outcome: Outcome,
) -> Result<(), AuditError> {
    let mut writer = Writer::new(place(config, ring, Arc::new(RealDisk)));
    let mut line = Line::of(OPERATOR, action, outcome);
    let now = crate::store::system_ms();
    writer.stamp(&mut line, now);
    writer.append(&[line], now).map(drop)
}

/// A page of lines of a directory that no node uses.
pub fn read_audit(config: &Config, query: &Query) -> Result<Page, NodeError> {
    let _lock = lock(&config.node.data)?;
    let ring = keys::ring(&KeySource::of(config)?)?;
    let dir = config.node.data.join(DIR);
    audit::query::read(&ShadowDisk::new(), &dir, &ring, query).map_err(NodeError::Audit)
}
