//! Looks at the conditions of a node, and tells readiness what `findings` makes of them: status and metrics show that
//! too.
//!
//! Invariant: the first look is over before a port is opened, and whoever asks is answered by a look of that moment.

use super::findings::{Finding, Place, View, addresses, names, of, place_of};
use crate::actors::access::Access;
use crate::actors::coordinator::takers::full_of;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::node_view::NodeView;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::reach::Standing;
use crate::actors::status::ListIs;
use crate::base::{NodeName, Shortage};
use crate::http::Readiness;
use crate::register::Roster;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the conditions are looked at, besides whenever somebody asks: a majority that was reached in between
/// counts.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How often until a node is ready for the first time: whoever waits for that should not wait for a look.
const WATCH_EVERY_AT_FIRST: Duration = Duration::from_millis(50);

/// What is missing until the first look.
pub(super) const BEGINS: &str = "start";

/// Looks at the conditions from now on, and whenever somebody asks; the first look is over when this returns, so that
/// the port is opened on the truth. `node_view`: of a node that votes; it has peers, and is told how many nodes its list has.
pub(super) fn watch(
    store: &Arc<Store>,
    readiness: &Readiness,
    (keys, access): (Arc<KeyWatch>, Access),
    node_view: Option<NodeView>,
    (peers, cluster_size): (Vec<Arc<Plan>>, Arc<AtomicUsize>),
) {
    let (store, readiness) = (Arc::downgrade(store), readiness.clone());
    let watched = Arc::new(Mutex::new(Watched { store, keys, access, node_view, peers, cluster_size, reached: false }));
    let look = |watched: &Mutex<Watched>, readiness: &Readiness| {
        // A panic while it is held leaves no half-made state.
        watched.lock().unwrap_or_else(PoisonError::into_inner).look(readiness)
    };
    if look(&watched, &readiness).is_none() {
        return;
    }
    readiness.present(BEGINS);
    let asked = Arc::downgrade(&watched);
    readiness.looks_by(move |readiness| {
        asked.upgrade().and_then(|watched| look(&watched, readiness));
    });
    actix_rt::spawn(async move {
        let mut was_ready = false;
        loop {
            was_ready |= readiness.is_ready();
            actix_rt::time::sleep(if was_ready { WATCH_EVERY } else { WATCH_EVERY_AT_FIRST }).await;
            if look(&watched, &readiness).is_none() {
                return;
            }
        }
    });
}

/// What is looked at.
struct Watched {
    store: Weak<Store>,
    keys: Arc<KeyWatch>,
    access: Access,
    node_view: Option<NodeView>,
    /// The peers of a node that votes.
    peers: Vec<Arc<Plan>>,
    /// The members of the list, for the answers to writes: it is told here.
    cluster_size: Arc<AtomicUsize>,
    /// Whether a majority was reached since the start.
    reached: bool,
}

impl Watched {
    /// One look; nothing once the store is gone.
    fn look(&mut self, readiness: &Readiness) -> Option<()> {
        let now = self.store.upgrade()?;
        let mut view = View {
            poisoned: now.is_poisoned(),
            damaged: now.is_index_damaged(),
            // That a volume is too small says more than that it is full.
            low: now.is_low() && !now.shortage(Shortage::SmallVolume).0,
            unfit: now.unfit().map(|bytes| (bytes, now.room())),
            lacks_room: now.lacks_room(),
            miscounted: now.miscounted(),
            short: Shortage::ALL.map(|what| now.shortage(what).0),
            lacks: self.keys.missing(),
            keys_refused: self.keys.is_directory_refused(),
            access_unknown: !self.access.has_known(),
            ..View::default()
        };
        view.unbegun = !now.has_begun();
        let silent = !now.may_vote();
        let (mut full, mut unaddressed, mut twice) = (Vec::new(), Vec::new(), Vec::new());
        drop(now);
        if let Some(node_view) = &self.node_view {
            let (voting, me) = (node_view.ballots.voting(), node_view.me.incarnation);
            // Who doubts its memory has no vote until its place is given to it anew.
            view.place = if silent { Place::Silent } else { place_of(&voting, me) };
            view.forgotten = node_view.reach.is_forgotten(&voting, &node_view.me.name, me);
            view.changing = voting.node.roster.as_ref().is_some_and(|list| !list.before.is_empty());
            let list = voting.node.roster.as_deref();
            if let Some(placement) = &voting.placement {
                self.cluster_size.store(placement.all().voters().len(), Ordering::Relaxed);
            }
            twice = node_view.reach.used_twice(Instant::now());
            unaddressed = list.map(|list| self.unaddressed(list, &node_view.me.name)).unwrap_or_default();
            full = list.map(|list| full_of(list, (me, view.low), &self.peers)).unwrap_or_default();
            // Who has another list does not vote with this node.
            let agrees = |peer: &_| node_view.lists.of(peer, voting.list).is == ListIs::Same;
            let standing = node_view.reach.standing_with(&voting, me, Instant::now(), agrees);
            self.reached |= view.place == Place::Votes && standing == Standing::Reached;
            (view.reached, view.cut_off) = (self.reached, standing == Standing::CutOff);
        }
        for (what, finding) in of(&view, &full).into_iter().chain([addresses(&unaddressed), names(&twice)]) {
            match finding {
                Finding::Fine => readiness.present(what),
                Finding::Degraded(why) => readiness.degraded(what, why),
                Finding::Missing(why) => readiness.missing(what, why),
            }
        }
        Some(())
    }

    /// The members of the list that this node, of that name, could not call.
    fn unaddressed(&self, list: &Roster, me: &NodeName) -> Vec<NodeName> {
        let known = |name: &NodeName| name == me || self.peers.iter().any(|plan| plan.peer == *name);
        let names = list.seats.iter().chain(&list.before).map(|seat| &seat.name);
        names.filter(|name| !known(name)).collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }
}
