//! What is missing at a node, and what is wrong without being a reason to send traffic elsewhere: decided from a view
//! of it.
//!
//! Invariants
//! - `of` names every condition each time, so one that has passed is taken back; what follows from another one that is
//!   missing is not named beside it.
//! - Readiness means "can answer reads" (docs/operations.md): what stops writes alone is degraded. A node that lacks a
//!   key generation cannot answer some.
//! - A node becomes ready when it has its place and has reached a majority since it began. A majority that is lost
//!   later takes it out of no Service: all others would go with it, and its reason and its local reads are worth
//!   something.

use crate::base::{Incarnation, KekId, NodeName, Shortage};
use crate::register::Roster;
use crate::store::voting::Voting;

/// A node's place in its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// It decides alone, and needs none.
    #[default]
    Alone,
    /// It has no member list.
    NoList,
    /// Others are in the list.
    None,
    /// The list is changing, and its place is one of those to come.
    Promised,
    /// It has one, and may not vote for what it holds.
    Silent,
    /// It has one, and votes.
    Votes,
}

/// What the conditions are decided from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub place: Place,
    /// Whether a majority was reached since the start.
    pub reached: bool,
    /// Whether both lists are in force.
    pub changing: bool,
    /// Whether this start has no number yet.
    pub unbegun: bool,
    /// Whether no majority is to be had now.
    pub cut_off: bool,
    /// Whether no majority is to be had any more: too many of the list's nodes live another life.
    pub forgotten: bool,
    pub poisoned: bool,
    /// Whether pages of the index do not open.
    pub damaged: bool,
    /// Whether the disk is below the reserve.
    pub low: bool,
    /// What did not fit lately, though the disk is not below the reserve, and what would: in bytes.
    pub unfit: Option<(u64, u64)>,
    /// Bytes that are lacking to move what is alive away from what is dead, whose room does not come back until then.
    pub lacks_room: u64,
    /// Bodies whose counts of references were found wrong since the start.
    pub miscounted: u64,
    /// What else the machine lacks.
    pub short: Short,
    /// A key generation that is needed here and not there, with its number if that is known.
    pub lacks: Option<(Option<u32>, KekId)>,
    /// Whether the next start would refuse the key directory as it is now.
    pub keys_refused: bool,
    /// Whether it was never known since the start which access keys are in force.
    pub access_unknown: bool,
}

/// Which shortages there are, in the order of `Shortage::ALL`.
pub(super) type Short = [bool; Shortage::ALL.len()];

/// How one condition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Fine,
    /// Wrong, and no reason to take the node out of a Service.
    Degraded(String),
    /// The node should get no traffic.
    Missing(String),
}

/// What a damaged index means, and the way out.
const INDEX_DAMAGED: &str = "its index is damaged, which no restart mends: it takes no writes, or will not for long, and what it cannot \
    read itself it asks its peers for; stop it, move its data directory aside and start it with an empty one: its peers \
    fill that (a node alone: docs/operations.md, \"A damaged index\")";

/// What it means that a majority was lost with its memory, and the way out.
const FORGOTTEN: &str = "a majority of the member list has lost its memory (its nodes answer with an empty directory, or an older \
    copy of one): it comes back with their former directories alone, and nobody can give a place without it; where these are \
    lost, `boveda leave` lets one node that kept its memory go on (docs/operations.md, \"A cluster that is lost for good\")";

/// Members of the list that have no address here.
pub(super) fn addresses(missing: &[NodeName]) -> (&'static str, Finding) {
    let finding = match missing {
        [] => Finding::Fine,
        missing => Finding::Degraded(format!(
            "{} of the member list cannot be reached from here: cluster.peers (--peer) has no address of it",
            row(missing)
        )),
    };
    ("addresses", finding)
}

/// The name of the condition that a cluster has formed.
pub(super) const CLUSTER: &str = "cluster";
/// The name of the condition that a majority is reached.
pub(super) const MAJORITY: &str = "majority";

/// Names that two processes use at once.
pub(super) fn names(twice: &[NodeName]) -> (&'static str, Finding) {
    let finding = match twice {
        [] => Finding::Fine,
        twice => Finding::Degraded(format!(
            "two nodes use the name {}: they come here in turn; end the one that does not belong there, or give it a name of \
             its own (node.name)",
            row(twice)
        )),
    };
    ("names", finding)
}

fn row(names: &[NodeName]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// All conditions of a view. `full`: nodes of the member list whose disks are.
pub(super) fn of(view: &View, full: &[NodeName]) -> Vec<(&'static str, Finding)> {
    let short = Shortage::ALL.into_iter().zip(view.short).map(|(what, now)| (what.name(), of_shortage(what, now)));
    [
        (CLUSTER, cluster(view)),
        ("place", place(view)),
        (MAJORITY, majority(view)),
        ("access", access(view)),
        ("disk", disk(view)),
        ("store", store(view)),
        ("keys", keys(view)),
        ("members", members(view, full)),
    ]
    .into_iter()
    .chain(short)
    .collect()
}

fn missing(why: &str) -> Finding {
    Finding::Missing(why.to_owned())
}

fn degraded(why: &str) -> Finding {
    Finding::Degraded(why.to_owned())
}

/// Whether there is a member list.
fn cluster(view: &View) -> Finding {
    match view.place {
        Place::NoList => missing(
            "no member list yet: a cluster forms when all configured nodes are reachable at once; a node with an empty \
             directory gets its place from the others",
        ),
        Place::Alone | Place::None | Place::Promised | Place::Silent | Place::Votes => Finding::Fine,
    }
}

/// Whether the list has a place for this node, and the node votes in it.
fn place(view: &View) -> Finding {
    match view.place {
        Place::None if view.forgotten => missing(FORGOTTEN),
        Place::None => missing(
            "no place in the member list: one that it had under another incarnation is given to it by the others, by \
             itself; else `boveda members add` gives it one",
        ),
        Place::Promised => missing("its place is being given to it: everything is stored again under the new list"),
        Place::Silent if view.unbegun => missing(
            "it does not vote: the number of this start could not be written; it tries again, and can once the disk takes \
             a write (a full one: delete something, or give the volume room)",
        ),
        Place::Silent => missing("it does not vote: what it holds does not count yet"),
        Place::Alone | Place::NoList | Place::Votes => Finding::Fine,
    }
}

/// Whether a majority of the list can be had.
fn majority(view: &View) -> Finding {
    match view.place {
        Place::Alone | Place::NoList => Finding::Fine,
        // For a node without a place its place says it.
        Place::None if view.forgotten => Finding::Fine,
        _ if view.forgotten && !view.reached => missing(FORGOTTEN),
        _ if view.forgotten => degraded(FORGOTTEN),
        _ if !view.reached => missing("no majority of the member list was reached since the start"),
        _ if view.cut_off => degraded(
            "no link to a majority of the member list that has a vote (a node that lost its memory has none; `boveda members \
             list` shows both): writes and reads get 503, local reads go on",
        ),
        _ => Finding::Fine,
    }
}

/// Whether anybody who needs an access key can be let in: a majority has to have told once which are in force. That it
/// tells so no more is said by the majority.
fn access(view: &View) -> Finding {
    match view.place {
        Place::Votes if view.reached && view.access_unknown => {
            missing("it is not known yet which access keys are in force: a majority is being asked")
        }
        Place::Alone | Place::NoList | Place::None | Place::Promised | Place::Silent | Place::Votes => Finding::Fine,
    }
}

/// Whether a change of the list goes on, and what holds it up. `full`: nodes of the list whose disks are.
fn members(view: &View, full: &[NodeName]) -> Finding {
    match (view.changing, full) {
        (true, _) if view.cut_off => degraded(
            "the member list changes, and of the old list or the new one no majority is there: it goes on by itself when that \
             is back; where it is lost (of two nodes: one) see docs/operations.md, \"A cluster that is lost for good\"",
        ),
        (false, _) | (true, []) => Finding::Fine,
        (true, full) => Finding::Degraded(format!(
            "the member list changes, for which the disk of {} may have no room: each node has to take what it lacks, with \
             half of its reserve; if this stays, make room there (delete objects, or give the volume room)",
            row(full)
        )),
    }
}

/// Whether the disk takes new bytes.
fn disk(view: &View) -> Finding {
    match (view.low, view.unfit) {
        _ if view.lacks_room > 0 => Finding::Degraded(format!(
            "there is no room to make room: what was deleted or replaced gives nothing back until {} bytes more are free on \
             this volume{}",
            view.lacks_room,
            if view.low { "; it is full down to the reserve, and writes get 507" } else { "" }
        )),
        (true, _) => degraded("full down to the reserve; writes get 507"),
        (false, Some((bytes, room))) => Finding::Degraded(format!(
            "{room} bytes are left above the reserve; {bytes} did not fit lately: what needs more than is left gets 507"
        )),
        (false, None) => Finding::Fine,
    }
}

/// Whether the store takes writes.
fn store(view: &View) -> Finding {
    match (view.damaged, view.poisoned) {
        // A restart would find the same pages.
        (true, _) => degraded(INDEX_DAMAGED),
        (false, true) => {
            degraded("takes no writes since an earlier write failed; look at the disk, then restart the node")
        }
        (false, false) if view.miscounted > 0 => Finding::Degraded(format!(
            "{} bodies were counted for other records than refer to them, which should never be: nothing is removed until all \
             are counted anew, and objects may have lost their bodies before; run `boveda scrub`, and report it (docs/operations.md, \
             \"Counts that differ\"); it is told until the node is restarted",
            view.miscounted
        )),
        (false, false) => Finding::Fine,
    }
}

/// Whether there is a cipher key for all that is here.
fn keys(view: &View) -> Finding {
    match view.lacks {
        Some((number, kek)) => {
            let number = number.map(|number| format!("{number}, ")).unwrap_or_default();
            Finding::Missing(format!("lacks key generation {number}id {kek}: put its file into the key directory"))
        }
        None if view.keys_refused => degraded(
            "the key directory, as it is now, would be refused at the next start (a key file is gone, changed or not one; the \
             log says which): put it right before this node is restarted",
        ),
        None => Finding::Fine,
    }
}

pub(super) fn place_of(voting: &Voting, me: Incarnation) -> Place {
    let Some(roster) = &voting.node.roster else { return Place::NoList };
    // While the list changes, the old one is in force besides.
    let Roster { seats, before, .. } = &**roster;
    let firm = if before.is_empty() { seats } else { before };
    if !roster.seats_node(me) {
        Place::None
    } else if !firm.iter().any(|seat| seat.incarnation == me) {
        Place::Promised
    } else {
        Place::Votes
    }
}

/// Without its volume a node reads next to nothing; the other shortages stop writes, or pass.
fn of_shortage(what: Shortage, now: bool) -> Finding {
    match what {
        _ if !now => Finding::Fine,
        Shortage::Volume => Finding::Missing(what.why().into()),
        Shortage::Inodes | Shortage::FileSize | Shortage::OpenFiles | Shortage::SmallVolume => {
            Finding::Degraded(what.why().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;
    use crate::register::{NodeState, Seat};
    use crate::store::entry::NodeRecord;
    use std::sync::Arc;

    fn missing(view: View) -> Vec<&'static str> {
        of(&view, &[]).into_iter().filter(|(_, f)| matches!(f, Finding::Missing(_))).map(|(what, _)| what).collect()
    }

    fn degraded(view: View) -> Vec<&'static str> {
        of(&view, &[]).into_iter().filter(|(_, f)| matches!(f, Finding::Degraded(_))).map(|(what, _)| what).collect()
    }

    #[test]
    fn what_stops_writes_alone_takes_no_node_out_of_service() {
        let fine = View { place: Place::Votes, reached: true, ..View::default() };
        assert!(missing(fine).is_empty() && degraded(fine).is_empty());
        let low = View { low: true, ..fine };
        assert_eq!((missing(low), degraded(low)), (vec![], vec!["disk"]));
        let full = View { lacks_room: 7, ..low };
        assert_eq!((missing(full), degraded(full)), (vec![], vec!["disk"]));
        let tight = View { unfit: Some((7, 5)), ..fine };
        assert_eq!((missing(tight), degraded(tight)), (vec![], vec!["disk"]));
        for (at, what) in Shortage::ALL.into_iter().enumerate() {
            let mut short = Short::default();
            short[at] = true;
            let view = View { short, ..fine };
            let gone = what == Shortage::Volume;
            let expected = if gone { (vec![what.name()], vec![]) } else { (vec![], vec![what.name()]) };
            assert_eq!((missing(view), degraded(view)), expected);
        }
        let unknown = View { access_unknown: true, ..fine };
        assert!(matches!(of(&unknown, &[])[3], ("access", Finding::Missing(_))));
        let away = View { reached: false, ..unknown };
        assert_eq!(of(&away, &[])[3], ("access", Finding::Fine), "the majority says it");
        assert_eq!(of(&View { place: Place::Alone, ..unknown }, &[])[3], ("access", Finding::Fine));
        let poisoned = View { poisoned: true, ..fine };
        assert_eq!((missing(poisoned), degraded(poisoned)), (vec![], vec!["store"]));
        let stuck = View { changing: true, cut_off: true, ..fine };
        assert_eq!((missing(stuck), degraded(stuck)), (vec![], vec!["majority", "members"]));
        let miscounted = View { miscounted: 3, ..fine };
        assert_eq!((missing(miscounted), degraded(miscounted)), (vec![], vec!["store"]));
        let damaged = View { damaged: true, ..poisoned };
        assert_eq!((missing(damaged), degraded(damaged)), (vec![], vec!["store"]));
        let told = |view| {
            of(&view, &[]).into_iter().find(|(what, _)| *what == "store").map(|(_, finding)| format!("{finding:?}"))
        };
        assert!(told(poisoned).is_some_and(|why| why.contains("restart the node")));
        assert!(told(damaged).is_some_and(|why| why.contains("no restart mends") && why.contains("empty one")));
        let lost = View { cut_off: true, ..fine };
        assert_eq!((missing(lost), degraded(lost)), (vec![], vec!["majority"]), "lost later");
    }

    #[test]
    fn a_change_of_the_list_that_may_wait_for_room_names_who_lacks_it() {
        let full = [NodeName::parse("n2").expect("a name")];
        let told = |changing, full: &[NodeName]| {
            let view = View { changing, place: Place::Promised, reached: true, ..View::default() };
            of(&view, full).into_iter().find(|(what, _)| *what == "members").map(|(_, finding)| finding)
        };
        assert_eq!((told(false, &full), told(true, &[])), (Some(Finding::Fine), Some(Finding::Fine)));
        let Some(Finding::Degraded(why)) = told(true, &full) else { panic!("it is told") };
        assert!(why.contains("the disk of n2 ") && why.contains("make room there"), "{why}");
    }

    #[test]
    fn a_majority_that_has_forgotten_is_no_link_that_is_down() {
        let told = |place, reached| {
            let view = View { place, reached, cut_off: true, forgotten: true, ..View::default() };
            let mut all = of(&view, &[]);
            all.retain(|(_, finding)| *finding != Finding::Fine);
            let [(what, finding)] = &all[..] else { panic!("once: {all:?}") };
            let (Finding::Missing(why) | Finding::Degraded(why)) = finding else { panic!("it is told") };
            assert!(
                why.contains("lost its memory") && why.contains("boveda leave") && !why.contains("by itself"),
                "{why}"
            );
            (*what, matches!(finding, Finding::Missing(_)))
        };
        assert_eq!(told(Place::None, false), ("place", true), "a node that was wiped");
        assert_eq!(told(Place::Votes, true), ("majority", false), "one that was not");
        assert_eq!(told(Place::Votes, false), ("majority", true), "one that began since");
    }

    #[test]
    fn members_without_an_address_are_named() {
        assert_eq!(addresses(&[]), ("addresses", Finding::Fine));
        let names = ["n2", "n3"].map(|name| NodeName::parse(name).expect("a name"));
        let (_, Finding::Degraded(why)) = addresses(&names) else { panic!("it is told") };
        assert!(why.starts_with("n2, n3 of the member list") && why.contains("cluster.peers"), "{why}");
        assert_eq!(super::names(&[]), ("names", Finding::Fine));
        let (_, Finding::Degraded(why)) = super::names(&names[..1]) else { panic!("it is told") };
        assert!(why.contains("the name n2:") && why.contains("node.name"), "{why}");
    }

    #[test]
    fn a_key_generation_that_is_missing_is_named() {
        let named = |number| {
            let view = View { lacks: Some((number, KekId([0xab; 16]))), ..View::default() };
            assert_eq!(missing(view), ["keys"]);
            let found = of(&view, &[]).into_iter().find_map(|(what, found)| (what == "keys").then_some(found));
            let Some(Finding::Missing(why)) = found else { panic!("it is named") };
            why
        };
        assert!(named(None).starts_with(&format!("lacks key generation id {}: ", "ab".repeat(16))));
        assert!(named(Some(2)).starts_with("lacks key generation 2, id abab"));
        let refused = View { keys_refused: true, ..View::default() };
        assert_eq!((missing(refused), degraded(refused)), (vec![], vec!["keys"]), "it serves until it is restarted");
    }

    #[test]
    fn a_node_is_not_ready_before_it_has_its_place_and_has_reached_a_majority() {
        let with = |place, reached| missing(View { place, reached, ..View::default() });
        assert!(with(Place::Alone, false).is_empty(), "a node alone needs neither");
        assert_eq!(with(Place::NoList, false), ["cluster"], "the rest follows from it");
        assert_eq!(with(Place::None, false), ["place", "majority"]);
        for place in [Place::None, Place::Promised, Place::Silent] {
            assert_eq!(with(place, true), ["place"], "{place:?}");
        }
        assert_eq!(with(Place::Votes, false), ["majority"]);
        let away = View { place: Place::Votes, cut_off: true, ..View::default() };
        assert_eq!((missing(away), degraded(away)), (vec!["majority"], vec![]), "since the start");
    }

    #[test]
    fn a_place_counts_once_the_old_list_gave_way() {
        let seat =
            |n: u64| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation: Incarnation(n) };
        let place = |roster: &Roster, me: u64| {
            let state = NodeState { epoch: Epoch(1), ..NodeRecord::NEW.state };
            place_of(
                &Voting::of(NodeRecord { state, roster: Some(Arc::new(roster.clone())), ..NodeRecord::NEW }),
                Incarnation(me),
            )
        };
        let first = Roster::founding(0, vec![seat(1), seat(2)]);
        let joint = first.next(1, &[seat(1), seat(3)]);
        let last = joint.next(2, &[]);
        assert_eq!(place_of(&Voting::of(NodeRecord::NEW), Incarnation(1)), Place::NoList);
        assert_eq!((place(&first, 1), place(&first, 3)), (Place::Votes, Place::None));
        assert_eq!((place(&joint, 3), place(&joint, 2)), (Place::Promised, Place::Votes));
        assert_eq!((place(&last, 3), place(&last, 2)), (Place::Votes, Place::None));
    }
}
