//! One request on its way through a handler.

use super::access::{Need, Principal};
use super::errors::HttpError;
use super::request_id::RequestId;
use super::trail::Note;
use super::worker::Worker;
use actix_web::HttpRequest;

/// What a handler knows of its request. Who calls was asked, and has the right that the endpoint needs.
pub struct Call<'a> {
    /// The thread that serves it.
    pub worker: &'a Worker,
    /// The request; its body comes to the handler beside this.
    pub req: &'a HttpRequest,
    /// Its id, as answer and log name it.
    pub id: RequestId,
    /// Who calls, by the port's own rule; nobody where that was not asked.
    pub who: Principal,
    /// Asks again who calls: a body takes time, and rights may have gone meanwhile.
    pub again: &'a dyn Fn() -> Result<Principal, HttpError>,
    /// What stands in the line of a change besides: what was, and what is.
    pub note: &'a Note,
}

impl<'a> Call<'a> {
    /// Refuses a caller who has not the right on what a handler learns only from the body: a name in a form, the other
    /// end of a copy, each key of many.
    pub fn authorize(&self, need: &Need<'_>) -> Result<(), HttpError> {
        self.worker.shared.entrance.authorize(&self.who, Some(need))
    }

    /// The same by what is in force now: before something comes of a body that was let in a while ago. Who it is by now.
    pub fn authorize_again(&self, need: &Need<'_>) -> Result<Principal, HttpError> {
        let who = (self.again)()?;
        self.worker.shared.entrance.authorize(&who, Some(need)).map(|()| who)
    }

    /// The same call by who it is by now, if that one has the right by what is in force now.
    pub fn renewed(&self, need: &Need<'_>) -> Result<Call<'a>, HttpError> {
        let who = self.authorize_again(need)?;
        Ok(Call { who, ..*self })
    }
}
