//! Settings that nothing can be set to here, as clients expect to hear of them: the truth, calmly. Many clients ask for
//! all of them before they do anything, and a 501 would end them.

use super::buckets::is_there;
use super::documents;
use super::objects::look;
use super::operations::{Calm, Endpoint};
use super::target::Names;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use actix_web::HttpResponse;

/// Answers for a bucket or an object that is there.
pub(super) async fn answer(call: &Call<'_>, endpoint: &Endpoint, calm: Calm) -> Result<HttpResponse, HttpError> {
    match &endpoint.names {
        Names::Service => {}
        Names::Bucket(bucket) => is_there(call, bucket.clone()).await?,
        Names::Object(at) => look(call, at).await.map(drop)?,
    }
    match calm {
        Calm::Acl => Ok(documents::owner_alone()),
        Calm::Encryption => Ok(documents::sealed()),
        Calm::NoTags => Ok(documents::no_tags()),
        Calm::RequestPayment => Ok(documents::owner_pays()),
        Calm::Empty(name) => Ok(documents::empty(name)),
        Calm::Missing(kind) => Err(HttpError::Refused(kind)),
    }
}
