//! What a history is made of: the weather, and what is weakened on purpose.

use super::rng::Rng;
use boveda::register::Rules;

/// How often things happen, per thousand steps of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Cluster sizes to draw from.
    pub replicas: &'static [usize],
    /// Fewest and most client calls.
    pub clients: (usize, usize),
    /// Steps before the end begins.
    pub steps: usize,
    /// A client that has not begun calls; for each of them.
    pub call: u32,
    /// A packet is lost; of the packets taken up.
    pub loss: u32,
    /// A packet stays in the net after it was delivered; of the packets taken up.
    pub double: u32,
    /// A node restarts: what was volatile is gone, its coordinators with it.
    pub restart: u32,
    /// A coordinator dies.
    pub kill: u32,
    /// A client's patience ends.
    pub deadline: u32,
    /// A round takes too long.
    pub expire: u32,
    /// A node forgets its promises by raising the floor.
    pub forget: u32,
    /// A node teaches another one what it holds as chosen.
    pub feed: u32,
    /// A node settles a tentative record.
    pub settle: u32,
    /// The set of nodes that hear late changes.
    pub slow: u32,
    /// A node loses its disk, and is to be seated anew.
    pub wipe: u32,
    /// A tombstone is on its way out.
    pub bury: u32,
    /// A node without a replica coordinates too; of the histories.
    pub outsider: u32,
    /// A node is to take the place of another one in the member list.
    pub change: u32,
    /// Somebody sees to the member list: the next step of a change, or a node that has lost its disk.
    pub list: u32,
    /// Writes with a blob, of all writes.
    pub blobs: u32,
    /// Puts without a condition, puts if absent, puts if equal, deletes, reads: shares of clients.
    pub kinds: [u32; 5],
    /// Ids in a lineage to draw from.
    pub lineage: &'static [usize],
}

impl Weather {
    /// A bit of everything but wipes and burials.
    pub const MIXED: Weather = Weather {
        replicas: &[2, 3, 3, 3, 5],
        clients: (2, 4),
        steps: 160,
        call: 25,
        loss: 60,
        double: 60,
        restart: 12,
        kill: 6,
        deadline: 3,
        expire: 15,
        forget: 6,
        feed: 20,
        settle: 8,
        slow: 30,
        wipe: 0,
        bury: 0,
        outsider: 300,
        change: 0,
        list: 0,
        blobs: 150,
        kinds: [4, 3, 3, 2, 4],
        lineage: &[8, 8, 2],
    };
    /// Nothing goes wrong; answers come in any order, and calls get in each other's way.
    pub const QUIET: Weather = Weather {
        steps: 4000,
        loss: 0,
        double: 0,
        restart: 0,
        kill: 0,
        deadline: 0,
        expire: 0,
        lineage: &[8],
        ..Weather::MIXED
    };
    /// Nodes restart often.
    pub const RESTARTS: Weather = Weather { restart: 45, forget: 20, feed: 10, kill: 0, blobs: 0, ..Weather::MIXED };
    /// Coordinators that keep no promises themselves restart, and hand out their ballots again.
    pub const REUSE: Weather = Weather {
        replicas: &[3],
        clients: (3, 5),
        outsider: 1000,
        double: 250,
        restart: 40,
        feed: 5,
        forget: 0,
        expire: 5,
        loss: 20,
        ..Weather::RESTARTS
    };
    /// Attempts are interrupted and tried again, on few replicas.
    pub const RETRIES: Weather = Weather {
        replicas: &[3],
        loss: 120,
        double: 20,
        restart: 4,
        expire: 60,
        kill: 10,
        steps: 220,
        blobs: 0,
        kinds: [5, 2, 3, 1, 2],
        ..Weather::MIXED
    };
    /// One key, many writes, short lineages.
    pub const HOT: Weather = Weather { clients: (4, 6), steps: 320, lineage: &[2], ..Weather::RETRIES };
    /// Nodes lose their disks.
    pub const WIPES: Weather =
        Weather { replicas: &[3, 3, 5], wipe: 15, list: 60, steps: 400, call: 8, blobs: 0, ..Weather::MIXED };
    /// Keys are deleted, and tombstones dropped.
    pub const BURIALS: Weather = Weather {
        replicas: &[2, 3],
        clients: (3, 5),
        bury: 80,
        feed: 120,
        steps: 400,
        call: 8,
        loss: 20,
        blobs: 0,
        kinds: [3, 3, 0, 5, 3],
        ..Weather::MIXED
    };
    /// The member list changes.
    pub const CHANGES: Weather = Weather {
        replicas: &[2, 3, 3],
        outsider: 1000,
        change: 40,
        list: 60,
        steps: 400,
        call: 8,
        blobs: 0,
        ..Weather::MIXED
    };
    /// Tombstones are dropped, and then somebody is given a place who was away.
    pub const RETURNS: Weather = Weather { outsider: 1000, change: 10, list: 60, ..Weather::BURIALS };
    /// Everything at once.
    pub const ALL: Weather = Weather {
        wipe: 6,
        bury: 40,
        list: 40,
        feed: 60,
        steps: 400,
        call: 8,
        kinds: [3, 3, 2, 4, 3],
        ..Weather::MIXED
    };
    /// What the long run goes through, seed by seed.
    pub const EVERY: [Weather; 10] = [
        Weather::MIXED,
        Weather::RESTARTS,
        Weather::REUSE,
        Weather::RETRIES,
        Weather::HOT,
        Weather::WIPES,
        Weather::BURIALS,
        Weather::CHANGES,
        Weather::RETURNS,
        Weather::ALL,
    ];

    /// The same with some of its odds changed: none of it, or more.
    pub fn shaken(mut self, rng: &mut Rng) -> Self {
        let all = [
            &mut self.loss,
            &mut self.double,
            &mut self.restart,
            &mut self.kill,
            &mut self.deadline,
            &mut self.expire,
            &mut self.forget,
            &mut self.feed,
            &mut self.settle,
            &mut self.slow,
            &mut self.wipe,
            &mut self.bury,
        ];
        for odds in all {
            *odds = *odds * rng.pick(&[0, 1, 1, 2, 2, 2, 4]) / 2;
        }
        self
    }
}

/// What is weakened: rules of the register, and duties of those around it.
#[derive(Clone, Copy, Debug)]
pub struct Weakened {
    /// The register's rules.
    pub rules: Rules,
    /// The feed teaches tentative records as well.
    pub teaches_tentative: bool,
    /// A node that lost its disk is the same incarnation as before, and votes at once.
    pub keeps_its_life: bool,
    /// Newcomers of a change are taught what is found in the epoch of both lists; it is not stored again.
    pub copies_tentative: bool,
    /// Newcomers are taught what is found in the epoch before theirs, by members that have not left that one.
    pub joins_without_epoch: bool,
    /// A node that is given its place anew keeps what it held.
    pub keeps_what_it_held: bool,
    /// The member list changes at once, without an epoch of both lists.
    pub changes_at_once: bool,
    /// The epoch of both lists ends before the key was stored again in it.
    pub changes_without_settling: bool,
    /// Answers leave before what was decided is durable.
    pub answers_early: bool,
    /// Tombstones are dropped without a new epoch.
    pub buries_without_epoch: bool,
    /// Tombstones are dropped without raising the floor over them.
    pub buries_without_floor: bool,
    /// Members take records from a node without a place.
    pub strangers_teach: bool,
    /// Replicas grant records whose blob they do not hold.
    pub grants_without_blob: bool,
}

impl Weakened {
    /// No sentence of the contract is left out.
    pub const NOT: Weakened = Weakened {
        rules: Rules::CONTRACT,
        teaches_tentative: false,
        keeps_its_life: false,
        copies_tentative: false,
        joins_without_epoch: false,
        keeps_what_it_held: false,
        changes_at_once: false,
        changes_without_settling: false,
        answers_early: false,
        buries_without_epoch: false,
        buries_without_floor: false,
        strangers_teach: false,
        grants_without_blob: false,
    };
}
