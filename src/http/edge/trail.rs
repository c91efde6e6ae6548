//! The lines that a request leaves in the audit log.
//!
//! Invariants
//! - A change is begun only once a line says that it was asked for, and answered only once one says how it went.
//! - A refusal has a line for which nobody waits; what a change was refused for stands in the line of the change.
//! - Nothing of a request is in a line but names, its address, and what a handler has noted: no header, no query, no body.
//! - A line has the status and the code that the client was told.
//! - A request for many objects has a line for each in the place of one.

use super::access::Principal;
use super::connections::Connection;
use super::deed::{Deed, Sort};
use super::errors::HttpError;
use super::problem::{Kind, Problem};
use super::request_id::RequestId;
use crate::audit::line::ANONYMOUS;
use crate::audit::{Audit, Change, Line, Outcome};
use crate::base::AccessKeyId;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

/// What a handler adds to the line of its change.
#[derive(Debug, Default)]
pub struct Note {
    target: RefCell<Option<String>>,
    change: RefCell<Option<Change>>,
    each: RefCell<Vec<(String, Option<Kind>)>>,
}

impl Note {
    /// Names what is known only now: the id of a key that was made.
    pub fn concerns(&self, target: impl Into<String>) {
        self.target.replace(Some(target.into()));
    }

    /// Says what was, and what is: grants, names, states; never a secret.
    pub fn changes(&self, old: impl Serialize, new: impl Serialize) {
        let old = serde_json::to_value(old).unwrap_or(Value::Null);
        let new = serde_json::to_value(new).unwrap_or(Value::Null);
        self.change.replace(Some(Change { old, new }));
    }

    /// Says of one object of many how it went, or why it did not.
    pub fn each(&self, target: String, failed: Option<Kind>) {
        self.each.borrow_mut().push((target, failed));
    }
}

/// The status and the code by which a port tells a problem.
pub(super) type Told = fn(Kind) -> (StatusCode, &'static str);

/// The trail of one request.
pub(super) struct Trail<'a> {
    audit: &'a Audit,
    req: &'a HttpRequest,
    id: RequestId,
    told_as: Told,
    actor: Cell<Option<AccessKeyId>>,
    by_link: Cell<bool>,
    /// Whether its refusal has a line already.
    told: Cell<bool>,
}

/// A deed that has lines.
pub(super) struct Entry {
    action: &'static str,
    target: String,
    is_change: bool,
}

impl<'a> Trail<'a> {
    pub(super) fn of(audit: &'a Audit, req: &'a HttpRequest, id: RequestId, told_as: Told) -> Self {
        Trail { audit, req, id, told_as, actor: Cell::default(), by_link: Cell::default(), told: Cell::default() }
    }

    fn address(&self) -> Option<IpAddr> {
        self.req.conn_data::<Rc<Connection>>().and_then(|connection| connection.address())
    }

    /// Who calls is known.
    pub(super) fn called_by(&self, who: &Principal) {
        if let Principal::Key(key) | Principal::Link(key) = who {
            self.actor.set(Some(key.id));
            self.by_link.set(matches!(who, Principal::Link(_)));
        }
    }

    /// Writes that a change was asked for. None of what has no line.
    pub(super) async fn begins(&self, deed: Deed<'_>) -> Result<Option<Entry>, HttpError> {
        let is_change = match deed.sort {
            Sort::Look => return Ok(None),
            Sort::Object if !self.audit.wants_objects() => return Ok(None),
            Sort::Object => false,
            Sort::Change => true,
        };
        let entry = Entry { action: deed.action, target: deed.target.text(), is_change };
        if is_change {
            let line = self.line(entry.action, &entry.target, Outcome::Asked);
            self.audit.change(line).await.map_err(|error| HttpError::Audit { error, begun: false })?;
        }
        Ok(Some(entry))
    }

    /// Writes how it went, and gives that back.
    pub(super) async fn ends(
        &self,
        entry: Entry,
        note: Note,
        answered: Result<HttpResponse, HttpError>,
    ) -> Result<HttpResponse, HttpError> {
        let each = note.each.into_inner();
        if answered.is_ok() && !each.is_empty() {
            for (target, failed) in each {
                let line = self.line_of_one(entry.action, &target, failed);
                self.audit.object(line).await.map_err(|error| HttpError::Audit { error, begun: true })?;
            }
            return answered;
        }
        let target = note.target.into_inner().unwrap_or(entry.target);
        let mut line = self.line(entry.action, &target, Outcome::Done);
        line.change = note.change.into_inner();
        match &answered {
            Ok(response) => line.status = Some(response.status().as_u16()),
            Err(error) => self.tell(&mut line, error.problem().kind),
        }
        self.told.set(line.outcome == Outcome::Refused);
        let written = match entry.is_change {
            true => self.audit.change(line).await,
            false => self.audit.object(line).await,
        };
        match (written, answered) {
            // A fault of the change itself says more.
            (Err(error), Ok(_)) => Err(HttpError::Audit { error, begun: true }),
            (_, answered) => answered,
        }
    }

    /// The id of the request.
    pub(super) fn id(&self) -> RequestId {
        self.id
    }

    /// Whether the request was refused, and no line says so yet.
    pub(super) fn is_refused(&self, problem: &Problem) -> bool {
        is_refusal(problem.kind) && !self.told.get()
    }

    /// Writes that the request was refused.
    pub(super) fn refused(&self, problem: &Problem, claims: Option<AccessKeyId>, deed: Option<Deed<'_>>, label: &str) {
        let line = || {
            let (action, target) = match deed {
                Some(deed) => (deed.action, deed.target.text()),
                None => (label, String::new()),
            };
            let mut line = self.line(action, &target, Outcome::Refused);
            self.tell(&mut line, problem.kind);
            line.claims = claims.filter(|_| self.actor.get().is_none()).map(|id| id.to_string());
            line
        };
        self.audit.refused(line, self.address());
    }

    /// Writes which of many objects were refused, where what is done to objects has no lines.
    pub(super) fn refused_each(&self, action: &str, note: Note) {
        let each = note.each.into_inner().into_iter();
        for (target, failed) in each.filter(|(_, failed)| failed.is_some_and(is_refusal)) {
            self.audit.refused(|| self.line_of_one(action, &target, failed), self.address());
        }
    }

    fn line_of_one(&self, action: &str, target: &str, failed: Option<Kind>) -> Line {
        let mut line = self.line(action, target, Outcome::Done);
        if let Some(kind) = failed {
            self.tell(&mut line, kind);
        }
        line
    }

    /// What a client is told of a problem, in its line.
    fn tell(&self, line: &mut Line, kind: Kind) {
        let (status, code) = (self.told_as)(kind);
        line.outcome = if is_refusal(kind) { Outcome::Refused } else { Outcome::Failed };
        line.status = Some(status.as_u16());
        line.code = Some(code.to_owned());
    }

    fn line(&self, action: &str, target: &str, outcome: Outcome) -> Line {
        let actor = self.actor.get();
        let actor = actor.as_ref().map_or(ANONYMOUS, AccessKeyId::as_str);
        let mut line = Line::of(actor, action, outcome).at(target);
        line.by_link = self.by_link.get();
        line.request = Some(self.id.to_string());
        line.address = self.address().map(|address| address.to_canonical().to_string());
        line
    }
}

/// Whether somebody was turned away for who they are, or are not known to be, or for what nobody has signed.
fn is_refusal(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Unauthenticated
            | Kind::AccessDenied
            | Kind::AccessUnknown
            | Kind::LinkRefused
            | Kind::SignerUnknown
            | Kind::SignatureRefused
            | Kind::ChunkSignature
            | Kind::UnsignedHeader
            | Kind::LinkHeader
            | Kind::ClockSkew
            | Kind::LinkExpired
            | Kind::LinkNotYet
            | Kind::ForeignHost
            | Kind::ForeignOrigin
    )
}
