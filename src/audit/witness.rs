//! Witnesses: what other nodes remember of this node's log, held against the log.
//!
//! Invariants
//! - What a node says that it remembers of the log is in it, with that hash; otherwise something is gone, and said.
//! - Nobody waits for a disk here: what is too long ago to be known in memory is looked up beside the traffic.

use super::check::{Report, check};
use super::claims::{Claim, Verdict};
use super::error::AuditError;
use super::running::{Audit, lock};
use crate::base::{AuditHead, NodeName};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a node remembers of this one's log, and whether that is in it.
#[derive(Debug, Serialize)]
pub struct Witnessed {
    /// Which node.
    pub node: String,
    /// Up to which line it had heard of.
    pub line: u64,
    /// Whether the log has that line, with that hash.
    pub holds: bool,
}

/// What this node remembers of another one's log.
#[derive(Debug, Serialize)]
pub struct Other {
    /// Which node.
    pub node: String,
    /// Up to which line this node has heard of.
    pub line: u64,
    /// What is wrong with that log.
    pub finding: Option<String>,
}

/// A whole check of a running node's log.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether nothing was found.
    pub whole: bool,
    /// The node whose log it is.
    pub node: String,
    /// The log itself.
    #[serde(flatten)]
    pub report: Report,
    /// What the others remember of it.
    pub remembered_by: Vec<Witnessed>,
    /// What this node remembers of the others.
    pub remembers: Vec<Other>,
    /// What was found since the start, besides.
    pub finding: Option<String>,
}

impl Audit {
    /// Another node says what it remembers of this one's log.
    pub fn told(&self, name: &NodeName, before: Option<AuditHead>, last: AuditHead) {
        let claim = Claim { before, last };
        let verdicts: Vec<(AuditHead, Verdict)> = {
            let mut witnesses = lock(&self.0.witnesses);
            let known = witnesses.claims.get(name).is_some_and(|known| *known == claim);
            if known || witnesses.recent.is_empty() {
                return;
            }
            let old: Vec<AuditHead> = witnesses.claims.get(name).into_iter().flat_map(Claim::heads).collect();
            let verdicts = claim.heads().filter(|head| !old.contains(head)).map(|head| (head, witnesses.verdict(head)));
            let verdicts = verdicts.collect();
            witnesses.claims.insert(name.clone(), claim);
            verdicts
        };
        for (head, verdict) in verdicts {
            match verdict {
                Verdict::Holds => {}
                Verdict::Gone => self.is_gone(name, head),
                Verdict::Unknown => self.look_up(name.clone(), head),
            }
        }
    }

    fn is_gone(&self, name: &NodeName, head: AuditHead) {
        self.found(format!("{name} remembers line {} of this node's log, which is not in it", head.sequence));
    }

    /// Reads the files for an end that is too long ago to be in memory.
    fn look_up(&self, name: NodeName, head: AuditHead) {
        let audit = self.clone();
        let look = move || match audit.report(&BTreeSet::from([head.sequence])) {
            Ok(report) if !report.has(head) && head.sequence >= report.first => audit.is_gone(&name, head),
            Ok(_) => {}
            Err(error) => log::warn!(error:%; "what {name} remembers of the audit log could not be looked up"),
        };
        if let Err(error) = std::thread::Builder::new().name("audit-check".to_owned()).spawn(look) {
            log::warn!(error:%; "what others remember of the audit log is not looked up");
        }
    }

    fn report(&self, wanted: &BTreeSet<u64>) -> Result<Report, AuditError> {
        let place = &self.0.place;
        check(place.disk.as_ref(), &place.dir, &place.ring, wanted)
    }

    /// Checks the whole log against itself and against what others remember. Reads all of it.
    pub fn check(&self) -> Result<Checked, AuditError> {
        let claims = lock(&self.0.witnesses).claims.clone();
        let wanted = claims.values().flat_map(Claim::heads).map(|head| head.sequence).collect();
        let report = self.report(&wanted)?;
        let heads = claims.iter().flat_map(|(name, claim)| claim.heads().map(move |head| (name, head)));
        let remembered_by: Vec<_> = heads
            // What was dropped for its age is in no file any more.
            .filter(|(_, head)| head.sequence >= report.first)
            .map(|(name, head)| Witnessed { node: name.to_string(), line: head.sequence, holds: report.has(head) })
            .collect();
        let (remembers, finding) = {
            let state = lock(&self.0.state);
            let other = |(name, known): (&NodeName, &super::memory::Remembered)| Other {
                node: name.to_string(),
                line: known.last.sequence,
                finding: known.finding.clone(),
            };
            (state.memory.all().map(other).collect::<Vec<_>>(), state.status.finding.clone())
        };
        let whole = report.damaged == 0
            && finding.is_none()
            && remembered_by.iter().all(|one| one.holds)
            && remembers.iter().all(|one| one.finding.is_none());
        Ok(Checked { whole, node: self.0.place.node.clone(), report, remembered_by, remembers, finding })
    }

    /// An operator has seen what was found, of that node's log or, with this node's name, of this one; what it was.
    pub fn accept(&self, name: &NodeName) -> Option<String> {
        let mut state = lock(&self.0.state);
        let mut own = None;
        if name.as_str() == self.0.place.node {
            own = state.status.finding.take();
            state.status.findings = 0;
        }
        let seen = state.memory.accept(name).or(own);
        state.remember = true;
        seen
    }

    /// A page of lines.
    pub fn read(&self, query: &super::query::Query) -> Result<super::query::Page, AuditError> {
        let place = &self.0.place;
        let up_to = Some(self.head().map_or(0, |head| head.sequence));
        super::query::read(
            place.disk.as_ref(),
            &place.dir,
            &place.ring,
            &super::query::Query { up_to, ..query.clone() },
        )
    }
}
