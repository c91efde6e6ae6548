//! `/v1/access`: access keys made, shown, rotated, disabled and revoked.
//!
//! Invariants
//! - A secret is told once, in the answer to whoever had it made, which nobody may keep.
//! - A change is answered when this node goes by it, or has waited for that as long as others may take.
//! - The last key in force with admin on everything is neither revoked nor disabled, and where everybody could come in
//!   the first key is such a one: nobody could make another one.
//! - A document takes time to arrive: who had it sent is asked for again before a key comes of it.

use super::answers::{json, no_query};
use super::in_force::{IN_FORCE_WITHIN, check_write, in_force};
use super::public::{PublicGrant, shown_public};
use crate::actors::messages::{
    AccessKey, AccessKeys, AccessSecret, AccessWish, ChangeAccess, CreateAccess, ObjectError, StoreError,
};
use crate::base::access::{GRANTS_MAX, is_name};
use crate::base::dates::rfc3339;
use crate::base::{AccessKeyId, Grant, GrantError, Right};
use crate::http::edge::access::{Need, Principal};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use crate::http::edge::source::Source;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most bytes of a document: the longest grants with room to spare.
const DOCUMENT_BYTES_MAX: usize = 128 * 1024;
const DOCUMENT: &str = "the body is a JSON object with name, grants (a list of texts), and expires_ms if it expires";

/// What a new key is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    grants: Vec<String>,
    /// In milliseconds since 1970; 0, or nothing: never.
    #[serde(default)]
    expires_ms: u64,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    created: String,
    expires: Option<String>,
    /// Whether it lets its owner in now.
    in_force: bool,
    disabled: bool,
    /// How many secrets it accepts: 2 while it is being rotated.
    secrets: u8,
    grants: Vec<String>,
}

#[derive(Serialize)]
struct All<'a> {
    keys: Vec<Shown<'a>>,
    /// What is open to everybody, as this node knows it.
    public: Vec<PublicBucket<'a>>,
}

#[derive(Serialize)]
struct PublicBucket<'a> {
    bucket: &'a str,
    grants: Vec<PublicGrant<'a>>,
}

/// The one answer with a secret in it.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    secret: &'a str,
}

#[derive(Serialize)]
struct Done<'a> {
    id: &'a str,
}

pub(super) fn list(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    let known = call.worker.shared.entrance.access().known();
    let keys = known.keys.all().into_iter().map(|key| shown(key)).collect();
    let public = known.public.buckets.iter();
    let public = public.map(|(bucket, grants)| PublicBucket { bucket: bucket.as_str(), grants: shown_public(grants) });
    Ok(json(&mut HttpResponse::Ok(), &All { keys, public: public.collect() }))
}

pub(super) fn show(call: &Call<'_>, id: AccessKeyId) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    let known = call.worker.shared.entrance.access().known();
    let key = known.keys.get(id).ok_or(HttpError::Refused(Kind::NoSuchAccessKey))?;
    Ok(json(&mut HttpResponse::Ok(), &shown(key)))
}

pub(super) async fn create(call: &Call<'_>, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    no_query(call)?;
    let _permit = call.worker.shared.budget.try_claim(DOCUMENT_BYTES_MAX as u64).ok_or(HttpError::SlowDown)?;
    let wanted: Wanted = document(incoming, DOCUMENT_BYTES_MAX, DOCUMENT).await?;
    let (need, access) = (Need::on_node(Right::Admin), call.worker.shared.entrance.access());
    let who = call.authorize_again(&need)?;
    let create = CreateAccess {
        given: None,
        grants: grants_of(&wanted.grants)?,
        expires_ms: wanted.expires_ms,
        name: Some(wanted.name)
            .filter(|name| is_name(name))
            .ok_or(HttpError::Document("name is a text of 1 to 128 bytes without control characters"))?,
    };
    // It ends open access: whoever makes it has to be able to make the next one.
    if matches!(who, Principal::Anyone) && !(create.expires_ms == 0 && has_admin(&create.grants)) {
        // Unless another node has made the first one a moment ago.
        access.look();
        if access.known().alone || !access.until(IN_FORCE_WITHIN, |known| !known.keys.is_pristine()).await {
            return Err(HttpError::Refused(Kind::FirstKey));
        }
        call.authorize_again(&need)?;
    }
    let made = serde_json::json!({ "name": create.name, "grants": texts(&create.grants), "expires": expires(create.expires_ms) });
    call.note.changes((), made);
    let (id, secret) = call.worker.links.writes.create_access.send(create).await??;
    call.note.concerns(id.as_str());
    in_force(call, |known| known.keys.get(id).is_some()).await;
    Ok(told(&mut HttpResponse::Created(), id, &secret))
}

/// A new secret; with `drop=old`, an end to the one before.
pub(super) async fn rotate(call: &Call<'_>, id: AccessKeyId) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    let mut query = Query::parse(call.req.query_string())?;
    let drops = match (query.take("drop").as_deref(), query.is_empty()) {
        (None, true) => false,
        (Some("old"), true) => true,
        _ => return Err(HttpError::Query("the known parameter is drop: old")),
    };
    call.note.changes((), serde_json::json!({ "secret": if drops { "the old one dropped" } else { "a new one" } }));
    if drops {
        change(call, id, AccessWish::DropOld).await?;
        in_force(call, |known| known.keys.get(id).is_none_or(|key| !key.is_rotating())).await;
        return Ok(json(&mut HttpResponse::Ok(), &Done { id: id.as_str() }));
    }
    let known = call.worker.shared.entrance.access().known();
    if known.keys.get(id).is_some_and(|key| key.is_rotating()) {
        return Err(HttpError::Refused(Kind::Rotating));
    }
    let secret = change(call, id, AccessWish::Rotate).await?;
    let secret = secret.ok_or(HttpError::Broken("a key was rotated and has no new secret"))?;
    in_force(call, |known| known.keys.get(id).is_none_or(|key| key.accepts(secret.expose()))).await;
    Ok(told(&mut HttpResponse::Ok(), id, &secret))
}

/// Disables a key, or puts it in force again.
pub(super) async fn set(call: &Call<'_>, id: AccessKeyId) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    let mut query = Query::parse(call.req.query_string())?;
    let disabled = match (query.take("state").as_deref(), query.is_empty()) {
        (Some("disabled"), true) => true,
        (Some("enabled"), true) => false,
        _ => return Err(HttpError::Query("the parameter is state: disabled or enabled")),
    };
    if disabled {
        leaves_an_admin(call, id)?;
    }
    let was = call.worker.shared.entrance.access().known().keys.get(id).map(|key| key.disabled);
    let state = |disabled| serde_json::json!({ "disabled": disabled });
    call.note.changes(was.map(state), state(disabled));
    change(call, id, AccessWish::Disable(disabled)).await?;
    in_force(call, |known| known.keys.get(id).is_none_or(|key| key.disabled == disabled)).await;
    show_by_now(call, id)
}

pub(super) async fn revoke(call: &Call<'_>, id: AccessKeyId) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    no_query(call)?;
    leaves_an_admin(call, id)?;
    let known = call.worker.shared.entrance.access().known();
    let was = known.keys.get(id).map(|key| serde_json::json!({ "name": key.name, "grants": texts(&key.grants) }));
    call.note.changes(was, ());
    change(call, id, AccessWish::Revoke).await?;
    in_force(call, |known| known.keys.get(id).is_none()).await;
    Ok(json(&mut HttpResponse::Ok(), &Done { id: id.as_str() }))
}

fn show_by_now(call: &Call<'_>, id: AccessKeyId) -> Result<HttpResponse, HttpError> {
    let known = call.worker.shared.entrance.access().known();
    let key = known.keys.get(id).ok_or(HttpError::Refused(Kind::NoSuchAccessKey))?;
    Ok(json(&mut HttpResponse::Ok(), &shown(key)))
}

async fn change(call: &Call<'_>, id: AccessKeyId, wish: AccessWish) -> Result<Option<AccessSecret>, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    match call.worker.links.writes.change_access.send(ChangeAccess { id, wish }).await? {
        Ok((_, secret)) => Ok(secret),
        Err(ObjectError::Store(StoreError::NoSuchKey)) => Err(HttpError::Refused(Kind::NoSuchAccessKey)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses to take away the last key with which others can be made.
fn leaves_an_admin(call: &Call<'_>, without: AccessKeyId) -> Result<(), HttpError> {
    let known = call.worker.shared.entrance.access().known();
    match is_last_admin(&known.keys, without) {
        true => Err(HttpError::Refused(Kind::LastAdminKey)),
        false => Ok(()),
    }
}

/// Whether that key is in force, with admin on everything, and no other one is for long.
fn is_last_admin(keys: &AccessKeys, id: AccessKeyId) -> bool {
    let rules = |key: &AccessKey| key.is_in_force(now_ms) && has_admin(&key.grants);
    let is_one = keys.get(id).is_some_and(|key| rules(key));
    is_one && !keys.all().into_iter().any(|key| key.id != id && key.expires_ms == 0 && rules(key))
}

/// Whether these are enough to make other keys.
fn has_admin(grants: &[Grant]) -> bool {
    grants.iter().any(|grant| grant.pattern.is_all() && grant.prefix.is_empty() && grant.rights.has(Right::Admin))
}

fn grants_of(texts: &[String]) -> Result<Vec<Grant>, HttpError> {
    if texts.len() > GRANTS_MAX {
        return Err(HttpError::Document("a key has at most 32 grants"));
    }
    let grants: Result<Vec<Grant>, GrantError> = texts.iter().map(|text| text.parse()).collect();
    grants.map_err(|why| {
        HttpError::Document(match why {
            GrantError::NoRights => "a grant is PATTERN[/PREFIX]:RIGHT,RIGHT",
            GrantError::Pattern => "a grant is for a bucket's name, or for the beginning of one with '*' behind it",
            GrantError::Prefix => "the key prefix of a grant has at most 1024 bytes",
            GrantError::Right => {
                "rights are read, write, list, delete, admin, bypass and metrics, with commas between them"
            }
        })
    })
}

/// The body as a JSON document of so many bytes at most; a client that sends another is told `wanted`.
pub(super) async fn document<T: for<'de> Deserialize<'de>>(
    incoming: &mut Incoming,
    bytes_max: usize,
    wanted: &'static str,
) -> Result<T, HttpError> {
    incoming.check_framed()?;
    let max = bytes_max as u64;
    if incoming.announced().is_some_and(|len| len > max) {
        return Err(HttpError::TooLarge { max });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = incoming.next().await? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(HttpError::TooLarge { max });
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|_| HttpError::Document(wanted))
}

fn told(builder: &mut actix_web::HttpResponseBuilder, id: AccessKeyId, secret: &AccessSecret) -> HttpResponse {
    let secret = std::str::from_utf8(secret.expose()).unwrap_or_default();
    builder.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    json(builder, &Told { id: id.as_str(), secret })
}

fn shown(key: &AccessKey) -> Shown<'_> {
    Shown {
        id: key.id.as_str(),
        name: &key.name,
        created: rfc3339(key.created_ms),
        expires: expires(key.expires_ms),
        in_force: key.is_in_force(now_ms),
        disabled: key.disabled,
        secrets: if key.is_rotating() { 2 } else { 1 },
        grants: texts(&key.grants),
    }
}

fn texts(grants: &[Grant]) -> Vec<String> {
    grants.iter().map(Grant::to_string).collect()
}

fn expires(ms: u64) -> Option<String> {
    (ms != 0).then(|| rfc3339(ms))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8, grants: &[&str]) -> AccessKey {
        let grants = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        AccessKey::unstored(id(n), Vec::new(), grants)
    }

    fn id(n: u8) -> AccessKeyId {
        AccessKeyId::drawn([n; AccessKeyId::LEN])
    }

    #[test]
    fn the_last_key_that_makes_others_is_told_from_the_rest() {
        let (root, reader) = (|| key(1, &["*:admin"]), || key(2, &["*:read", "abc:admin", "*/k:admin"]));
        let alone = AccessKeys::of([root(), reader()]);
        assert!(is_last_admin(&alone, id(1)));
        assert!(!is_last_admin(&alone, id(2)) && !is_last_admin(&alone, id(9)));
        let other = |disabled, expires_ms| {
            let mut other = key(3, &["*:admin,read"]);
            (other.disabled, other.expires_ms) = (disabled, expires_ms);
            other
        };
        assert!(!is_last_admin(&AccessKeys::of([root(), other(false, 0)]), id(1)));
        for weak in [other(true, 0), other(false, u64::MAX)] {
            assert!(is_last_admin(&AccessKeys::of([root(), weak]), id(1)), "one that will not be there");
        }
        let mut off = root();
        off.disabled = true;
        assert!(!is_last_admin(&AccessKeys::of([off]), id(1)), "it makes none as it is");
    }

    #[test]
    fn what_is_no_grant_is_told_by_what_is_wrong() {
        let texts = |texts: &[&str]| grants_of(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(texts(&["*:read", "abc/k:write"]).map(|grants| grants.len()).ok(), Some(2));
        for bad in [&["abc"][..], &["a:read"], &["abc:fly"], &["*:read"; 33]] {
            assert!(matches!(texts(bad), Err(HttpError::Document(_))), "{bad:?}");
        }
    }
}
