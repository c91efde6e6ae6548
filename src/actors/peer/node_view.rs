//! How this node is, as its peers and everybody who talks to them need to know at once.
//!
//! Invariant: what is asked here is in memory; nothing waits for a disk but what is to be remembered.

use crate::actors::peer::error::LinkError;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::list_watch::ListWatch;
use crate::actors::peer::reach::Reach;
use crate::actors::status::CallCounts;
use crate::base::{Ballot, BucketId, BucketUsage, ClusterId, Epoch, Incarnation, NodeName, Stamp, Sum};
use crate::register::{Heard, Remembered, Standing, Start};
use crate::seal::session::PeerInfo;
use crate::store::intent::{Answer as CommitAnswer, wait};
use crate::store::voting::Voting;
use crate::store::{Store, StoreError};
use crate::wire::{AuditNews, Health, Pulse, Refusal};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Who this node is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name in every node's `cluster.peers`.
    pub name: NodeName,
    /// Its cluster: nodes of two clusters open no session.
    pub cluster: ClusterId,
    /// Which life of its data directory.
    pub incarnation: Incarnation,
}

/// What coordinators and listeners need to know of the node's votes, at once.
pub trait Ballots: Send + Sync {
    /// The member list and what goes with it, as far as durable.
    fn voting(&self) -> Arc<Voting>;
    /// A ballot above all that was seen.
    fn fresh(&self) -> Ballot;
    /// Takes note of a stamp that came in.
    fn observe(&self, stamp: Stamp);
    /// How this node stands.
    fn standing(&self) -> Standing;
    /// What it remembers of the others.
    fn remembered(&self) -> Remembered;
    /// Another node, whose list is of that epoch, says how it stands, and what it remembers of everybody.
    fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard;
    /// What is remembered becomes durable; answered then.
    fn remember(&self) -> CommitAnswer;
    /// Whether votes may pass to and from this start of a node.
    fn is_met(&self, node: Incarnation, start: Start) -> bool;
    /// Whether this node doubts its memory: what it holds is told to nobody then.
    fn doubts(&self) -> bool {
        false
    }
    /// Whether this node takes no new bytes: its disk is full down to the reserve.
    fn is_full(&self) -> bool {
        false
    }
    /// Bytes that it has above its reserve.
    fn room(&self) -> u64 {
        u64::MAX
    }
    /// Refuses what this node has no room for: a body of so many bytes.
    fn check_fits(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// The same for what goes into its log.
    fn check_left(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// What this node holds of a bucket, as far as that is durable.
    fn usage(&self, _: BucketId) -> BucketUsage {
        BucketUsage::NOTHING
    }
    /// Whether it takes no writes at all.
    fn is_read_only(&self) -> bool {
        false
    }
}

impl Ballots for Store {
    fn voting(&self) -> Arc<Voting> {
        Store::voting(self)
    }
    fn fresh(&self) -> Ballot {
        self.fresh_ballot()
    }
    fn observe(&self, stamp: Stamp) {
        Store::observe(self, stamp);
    }
    fn standing(&self) -> Standing {
        Store::standing(self)
    }
    fn remembered(&self) -> Remembered {
        Store::remembered(self)
    }
    fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        Store::hear(self, from, epoch, now, told)
    }
    fn remember(&self) -> CommitAnswer {
        Store::remember(self)
    }
    fn is_met(&self, node: Incarnation, start: Start) -> bool {
        Store::is_met(self, node, start)
    }
    fn doubts(&self) -> bool {
        Store::doubts(self)
    }
    fn is_full(&self) -> bool {
        self.is_low()
    }
    fn room(&self) -> u64 {
        Store::room(self)
    }
    fn check_fits(&self, bytes: u64) -> Result<(), StoreError> {
        Store::check_fits(self, bytes)
    }
    fn check_left(&self, bytes: u64) -> Result<(), StoreError> {
        Store::check_left(self, bytes)
    }
    fn usage(&self, bucket: BucketId) -> BucketUsage {
        Store::usage(self, bucket)
    }
    fn is_read_only(&self) -> bool {
        self.is_poisoned()
    }
}

/// What this node tells of itself with a heartbeat, and what it notes of those of others.
#[derive(Clone)]
pub struct NodeView {
    /// This node's name, cluster and incarnation.
    pub me: Arc<Identity>,
    /// Its release, for the status of the others.
    pub version: String,
    /// Its part in the votes: list, ballots, what it remembers of others.
    pub ballots: Arc<dyn Ballots>,
    /// Whose member list is another one.
    pub lists: Arc<ListWatch>,
    /// Which key generations the nodes open.
    pub keys: Arc<KeyWatch>,
    /// Which peers answer, and so whether a majority does.
    pub reach: Arc<Reach>,
    /// Its highest durable change number.
    pub head: watch::Receiver<u64>,
    /// Bytes that it can still write.
    pub free: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The sum over its registers, once they are counted.
    pub root: Arc<dyn Fn() -> Option<Sum> + Send + Sync>,
    /// How it is besides, at once.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// What the audit log has to do with peers.
    pub audit: Arc<dyn PeerAudit>,
}

/// What a node tells of audit logs with a heartbeat, what it is told, and who is turned away at its peer port.
pub trait PeerAudit: Send + Sync {
    /// What is told to that peer.
    fn news(&self, to: &NodeName) -> AuditNews;
    /// A peer tells of its log, and of this node's.
    fn heard(&self, from: &NodeName, incarnation: Incarnation, start: Start, news: &AuditNews);
    /// A caller was turned away. Never waits.
    fn turned_away(&self, from: IpAddr, refusal: Refusal);
}

impl NodeView {
    /// A peer says how it stands: by a heartbeat, or in the answer to one. Once this has returned, `Ballots::is_met`
    /// says whether votes may pass.
    pub async fn meet(&self, from: &PeerInfo, pulse: &Pulse) -> Result<(), LinkError> {
        self.audit.heard(&from.name, pulse.incarnation, pulse.standing.start, &pulse.audit);
        let voting = self.ballots.voting();
        let life = life_of(&voting);
        if life != 0 && pulse.life != 0 && life != pulse.life {
            return Err(LinkError::OtherLife);
        }
        // Lists of one epoch that differ were founded apart: what one of the two remembers is not of the other's nodes.
        if voting.list.epoch == pulse.list.epoch && voting.list.digest != pulse.list.digest {
            return Ok(());
        }
        match self.ballots.hear(from.incarnation, pulse.list.epoch, pulse.standing, &pulse.remembers) {
            Heard::Known => self.lists.met(&from.name),
            // A store that takes no writes meets nobody, and is talked to all the same.
            Heard::New => {
                self.lists.met(&from.name);
                if let Err(error) = wait(self.ballots.remember()).await {
                    log::debug!(peer:% = from.name, error:% = error; "a start could not be remembered");
                }
            }
            // Without a member list nobody votes, and what was forgotten is found by comparing.
            Heard::Forgot(_) if voting.node.roster.is_none() => {}
            Heard::Forgot(remembered) => self.lists.forgot(&from.name, from.incarnation, remembered, pulse.standing),
        }
        Ok(())
    }

    /// What this node tells a peer of itself now.
    pub fn pulse(&self, to: &NodeName) -> Pulse {
        let voting = self.ballots.voting();
        Pulse {
            name: self.me.name.clone(),
            incarnation: self.me.incarnation,
            standing: self.ballots.standing(),
            life: life_of(&voting),
            remembers: self.ballots.remembered(),
            free: (self.free)(),
            root: (self.root)(),
            list: voting.list,
            version: self.version.clone(),
            keys: self.keys.news(),
            health: (self.health)(),
            audit: self.audit.news(to),
        }
    }
}

/// The life of the cluster that a node belongs to; 0 before it has a list.
fn life_of(voting: &Voting) -> u64 {
    voting.node.roster.as_ref().map_or(0, |list| list.life)
}

/// Counters of what came in, or went out.
pub type Counts = CallCounts<AtomicU64>;

impl Counts {
    /// The counters as they are now.
    pub fn read(&self) -> CallCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallCounts {
            heartbeats: read(&self.heartbeats),
            offers: read(&self.offers),
            votes: read(&self.votes),
            scans: read(&self.scans),
            learns: read(&self.learns),
            blobs: read(&self.blobs),
            trees: read(&self.trees),
            fetches: read(&self.fetches),
            configs: read(&self.configs),
            hellos: read(&self.hellos),
        }
    }

    /// Counts one call of that kind.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
