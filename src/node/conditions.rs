//! What is missing here, and what is wrong without being a reason to send traffic elsewhere: decided from a view of
//! the node, then shown by readiness, status and metrics.
//!
//! Invariants
//! - `of` names every condition each time, so one that has passed is taken back.
//! - Readiness means "can answer reads" (docs/operations.md): what stops writes alone is degraded.

use crate::http::Readiness;
use crate::store::Store;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the conditions are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// What the conditions are decided from.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    /// Whether this node decides together with others.
    voting: bool,
    /// Whether it has a member list.
    formed: bool,
    poisoned: bool,
    /// Whether the disk is below the reserve.
    low: bool,
}

/// How one condition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Fine,
    /// Wrong, and no reason to take the node out of a Service.
    Degraded(String),
    /// The node should get no traffic.
    Missing(String),
}

fn of(view: View) -> [(&'static str, Finding); 3] {
    let cluster = match view.voting && !view.formed {
        true => Finding::Missing("not formed yet: all configured nodes must be reachable once".into()),
        false => Finding::Fine,
    };
    let disk = match view.low {
        true => Finding::Degraded("full down to the reserve; writes get 507".into()),
        false => Finding::Fine,
    };
    let store = match view.poisoned {
        true => Finding::Degraded("takes no writes since an earlier write failed; restart it".into()),
        false => Finding::Fine,
    };
    [("cluster", cluster), ("disk", disk), ("store", store)]
}

/// Looks at the conditions from now on; the first look is over when this returns, so that the port is opened on the truth.
pub(super) fn watch(store: &Arc<Store>, readiness: &Readiness, voting: bool) {
    let (store, readiness) = (Arc::downgrade(store), readiness.clone());
    if look(&store, &readiness, voting).is_none() {
        return;
    }
    actix_rt::spawn(async move {
        loop {
            actix_rt::time::sleep(WATCH_EVERY).await;
            if look(&store, &readiness, voting).is_none() {
                return;
            }
        }
    });
}

/// One look; nothing once the store is gone.
fn look(store: &Weak<Store>, readiness: &Readiness, voting: bool) -> Option<()> {
    let now = store.upgrade()?;
    let view = View { voting, formed: now.voting().members.is_some(), poisoned: now.is_poisoned(), low: now.is_low() };
    drop(now);
    for (what, finding) in of(view) {
        match finding {
            Finding::Fine => readiness.present(what),
            Finding::Degraded(why) => readiness.degraded(what, why),
            Finding::Missing(why) => readiness.missing(what, why),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(view: View) -> Vec<&'static str> {
        of(view).into_iter().filter(|(_, f)| matches!(f, Finding::Missing(_))).map(|(what, _)| what).collect()
    }

    fn degraded(view: View) -> Vec<&'static str> {
        of(view).into_iter().filter(|(_, f)| matches!(f, Finding::Degraded(_))).map(|(what, _)| what).collect()
    }

    #[test]
    fn what_stops_writes_alone_takes_no_node_out_of_service() {
        let fine = View { voting: true, formed: true, ..View::default() };
        assert!(missing(fine).is_empty() && degraded(fine).is_empty());
        let low = View { low: true, ..fine };
        assert_eq!((missing(low), degraded(low)), (vec![], vec!["disk"]));
        let poisoned = View { poisoned: true, ..fine };
        assert_eq!((missing(poisoned), degraded(poisoned)), (vec![], vec!["store"]));
        assert_eq!(missing(View { formed: false, ..fine }), ["cluster"]);
        assert!(missing(View { voting: false, formed: false, ..fine }).is_empty(), "a node alone needs no list");
    }
}
