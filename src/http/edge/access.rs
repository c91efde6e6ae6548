//! Who calls, and whether they may.
//!
//! Invariants
//! - `authorize` is the one place that answers: every endpoint of every port passes it before its handler runs, and
//!   before a permit is taken or a byte of the body is read. What a handler learns only from the body passes it then,
//!   and a body that came over time passes it again before it becomes an object.
//! - An endpoint without a need is open to everybody who reaches the port, and says so in its table.
//! - Who calls is found out without asking anybody. Where it is not known whether a key is in force by now, nobody is
//!   let in by it, but to what the node says of itself: by that an operator sees that it is cut off. Where it is not
//!   known what is open to everybody, nobody is let in for that.
//! - An unknown id and a wrong secret are told the same, in the same time; so are keys that are disabled or expired.
//! - Who brings a credential that lets nobody in is refused, also where everybody else may come in. Nothing but reading
//!   and listing is ever open to everybody.

use super::errors::HttpError;
use crate::actors::access::{Access, Known};
use crate::actors::messages::{AccessKey, PublicBuckets, SignatureCheck};
pub use crate::base::Right;
use crate::base::credential::is_secret;
use crate::base::{AccessKeyId, BucketName, Grant, ObjectName, PublicGrants, Rights, Secret};
use crate::seal::hmac::SHA256_BYTES;
use crate::sign::sigv4::{Scope, SigningKey, signed, signing_key};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a request waits for a node to find out for the first time which keys are in force.
const FIRST_KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// On which part of a bucket a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// On all of it, and on itself.
    Whole,
    /// On some of its keys at least; on which is told later, in the body or by a parameter.
    Some,
    /// On a key.
    Key(&'a str),
    /// On all keys that begin so.
    Under(&'a str),
    /// On nothing but what this node says of itself.
    Here,
}

impl Span<'_> {
    /// Whether a grant on keys that begin so is enough.
    fn lies_under(self, prefix: &str) -> bool {
        match self {
            Span::Whole | Span::Here => prefix.is_empty(),
            Span::Some => true,
            Span::Key(text) | Span::Under(text) => text.starts_with(prefix),
        }
    }
}

/// What an endpoint needs of its caller: a right, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// `None`: to be somebody, whatever may be done.
    pub right: Option<Right>,
    /// `None`: on the node, and so on all buckets.
    pub bucket: Option<&'a BucketName>,
    /// On what of the bucket.
    pub span: Span<'a>,
}

impl<'a> Need<'a> {
    /// To be known: what is shown depends on who asks.
    pub fn to_be_known() -> Self {
        Need { right: None, bucket: None, span: Span::Some }
    }

    /// A right on the node, or on all buckets.
    pub fn on_node(right: Right) -> Self {
        Need { right: Some(right), bucket: None, span: Span::Whole }
    }

    /// A right to hear what this node says of itself, which no other node has to be asked for.
    pub fn on_this_node(right: Right) -> Self {
        Need { span: Span::Here, ..Need::on_node(right) }
    }

    /// Whether it is about this node alone: then it is told by the keys that were known last, in force by now or not.
    pub fn is_of_this_node(&self) -> bool {
        self.span == Span::Here
    }

    /// A right on a bucket.
    pub fn on_bucket(right: Right, bucket: &'a BucketName) -> Self {
        Need { right: Some(right), bucket: Some(bucket), span: Span::Whole }
    }

    /// A right on some keys of a bucket; whoever learns on which asks again.
    pub fn in_bucket(right: Right, bucket: &'a BucketName) -> Self {
        Need { span: Span::Some, ..Need::on_bucket(right, bucket) }
    }

    /// A right on all keys of a bucket that begin so.
    pub fn under(right: Right, bucket: &'a BucketName, prefix: &'a str) -> Self {
        Need { span: Span::Under(prefix), ..Need::on_bucket(right, bucket) }
    }

    /// A right on an object.
    pub fn on_object(right: Right, at: &'a ObjectName) -> Self {
        Need { span: Span::Key(at.key.as_str()), ..Need::on_bucket(right, &at.bucket) }
    }

    fn is_met_by(&self, grant: &Grant) -> bool {
        let Some(right) = self.right else { return true };
        let there = match self.bucket {
            None => grant.pattern.is_all() && grant.prefix.is_empty(),
            Some(bucket) => grant.pattern.matches(bucket) && self.span.lies_under(&grant.prefix),
        };
        there && grant.rights.has(right)
    }

    /// What would let a caller know that there is no such object: who may not list would learn what there is.
    pub fn to_see_what_is_missing(self) -> Option<Self> {
        matches!(self.span, Span::Key(_)).then_some(Need { right: Some(Right::List), ..self })
    }

    /// Whether this could be open to everybody at all: the bucket that it would be open in.
    fn public_in(&self) -> Option<(&'a BucketName, Right)> {
        let (bucket, right) = (self.bucket?, self.right?);
        PublicGrants::may_be(Rights::of(&[right])).then_some((bucket, right))
    }
}

/// The caller of a request, by what it may do.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Nobody was asked for: what is open to all is all there is.
    Nobody,
    /// Whoever reaches a port that is open.
    Anyone,
    /// Somebody without a credential: what is open to everybody is all there is.
    Guest,
    /// The owner of an access key.
    Key(Arc<AccessKey>),
    /// Who was given a link, signed by that key.
    Link(Arc<AccessKey>),
}

impl Principal {
    /// Somebody with these rights on everything, and no others.
    #[cfg(test)]
    pub fn with(rights: &[Right]) -> Self {
        let grant = Grant { rights: crate::base::Rights::of(rights), ..Grant::everything() };
        Principal::Key(Arc::new(AccessKey::unstored(AccessKeyId::drawn([1; 20]), Vec::new(), vec![grant])))
    }

    fn has(&self, need: &Need<'_>) -> bool {
        match self {
            Principal::Nobody | Principal::Guest => false,
            Principal::Anyone => true,
            Principal::Key(key) => need.right.is_none() || key.grants.iter().any(|grant| need.is_met_by(grant)),
            // What a link is for is a right on an object.
            Principal::Link(key) => need.right.is_some() && key.grants.iter().any(|grant| need.is_met_by(grant)),
        }
    }

    /// Whether any grant reaches something of a bucket: then it is shown where all are listed.
    pub fn reaches(&self, bucket: &BucketName) -> bool {
        match self {
            Principal::Nobody | Principal::Guest | Principal::Link(_) => false,
            Principal::Anyone => true,
            Principal::Key(key) => {
                key.grants.iter().any(|grant| grant.pattern.matches(bucket) && !grant.rights.are_of_the_node())
            }
        }
    }
}

/// Refuses a caller who has not what an endpoint needs. `public`: what is open to everybody, where that is known.
pub fn authorize(who: &Principal, need: Option<&Need<'_>>, public: Option<&PublicBuckets>) -> Result<(), HttpError> {
    let Some(need) = need.filter(|need| !who.has(need)) else { return Ok(()) };
    let refused = match who {
        Principal::Guest => HttpError::Unauthenticated,
        _ => HttpError::AccessDenied,
    };
    // What is open to everybody is so to those as well whose key has not the right.
    let Some((bucket, right)) = need.public_in() else { return Err(refused) };
    let Some(public) = public else { return Err(HttpError::AccessUnknown) };
    let is_open = public.get(bucket).is_some_and(|grants| {
        grants.iter().any(|grant| grant.rights.has(right) && need.span.lies_under(&grant.prefix))
    });
    if is_open { Ok(()) } else { Err(refused) }
}

/// Who made a signature.
#[derive(Debug)]
pub enum Signer {
    /// The owner of that key, which is in force; and what it has signed with.
    Key(Arc<AccessKey>, Arc<SigningKey>),
    /// Nobody: no key of that id is in force.
    Unknown,
    /// Somebody else, or of something else: the signature does not fit.
    Other,
}

/// Where callers come in: the keys that they are held against.
#[derive(Clone, Debug)]
pub struct Entrance {
    access: Access,
    /// Whether everybody may come in for as long as there has never been a key.
    may_be_open: bool,
}

impl Entrance {
    /// An entrance that these keys open; everybody, until there is a first one, where it `may_be_open`.
    pub fn new(access: Access, may_be_open: bool) -> Self {
        Entrance { access, may_be_open }
    }

    /// The keys that are known, and what they rest on.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Refuses a caller who has not what an endpoint needs, by what is open to everybody now.
    pub fn authorize(&self, who: &Principal, need: Option<&Need<'_>>) -> Result<(), HttpError> {
        let known = self.access.known();
        authorize(who, need, self.access.public(&known))
    }

    /// Whether everybody may come in, by what is known.
    fn is_open(&self, known: &Known) -> bool {
        self.may_be_open && self.access.is_pristine(known)
    }

    /// Whether everybody may come in by now.
    pub fn is_open_to_all(&self) -> bool {
        self.is_open(&self.access.known())
    }

    /// Who made a signature that came with that id, for that scope, of what was signed. An id that is not there takes the
    /// same work as a signature that does not fit.
    pub fn signer(
        &self,
        id: &str,
        signature: &[u8; SHA256_BYTES],
        scope: &Scope,
        to_sign: &str,
    ) -> Result<Signer, HttpError> {
        let known = self.access.known();
        if !self.access.is_fresh(&known) {
            return Err(HttpError::AccessUnknown);
        }
        let id = AccessKeyId::parse(id.as_bytes());
        let check = SignatureCheck {
            signature,
            scope: &scope.to_string(),
            derive: &|secret| signing_key(secret, scope),
            sign: &|key| signed(key, to_sign),
        };
        let has_signed = known.keys.check_signature(id, &check);
        let in_force = id.and_then(|id| known.keys.get(id)).filter(|key| key.is_in_force(now_ms));
        Ok(match (in_force, has_signed) {
            (Some(key), Some((_, with))) => Signer::Key(Arc::clone(key), with),
            (Some(_), None) => Signer::Other,
            (None, _) => Signer::Unknown,
        })
    }

    /// Waits a moment where nothing was ever known to be in force: a node that has just come to its member list finds out
    /// at once. One that knew, and does so no more, refuses without waiting.
    pub async fn first_known(&self) {
        let knows = |known: &Known| known.alone || known.lease.is_some();
        if !knows(&self.access.known()) {
            self.access.look();
            self.access.until(FIRST_KNOWN_WITHIN, knows).await;
        }
    }

    /// Who calls, by the `Authorization` of a head: Basic with id and secret, or Bearer with both and a dot between them.
    pub fn who(&self, headers: &HeaderMap) -> Result<Principal, HttpError> {
        let known = self.access.known();
        if self.is_open(&known) {
            return Ok(Principal::Anyone);
        }
        if !self.access.is_fresh(&known) {
            return Err(HttpError::AccessUnknown);
        }
        if !headers.contains_key(AUTHORIZATION) {
            return Ok(Principal::Guest);
        }
        Self::by_key(&known, headers)
    }

    /// Who calls, by what was known last. How a node is cut off would be seen by nobody else.
    pub fn who_lately(&self, headers: &HeaderMap) -> Result<Principal, HttpError> {
        let known = self.access.known();
        if self.may_be_open && known.keys.is_pristine() {
            return Ok(Principal::Anyone);
        }
        Self::by_key(&known, headers)
    }

    fn by_key(known: &Known, headers: &HeaderMap) -> Result<Principal, HttpError> {
        let (id, secret) = credential(headers).ok_or(HttpError::Unauthenticated)?;
        let found = known.keys.check(id, secret.expose());
        match found.filter(|key| key.is_in_force(now_ms)) {
            Some(key) => Ok(Principal::Key(Arc::clone(key))),
            None => Err(HttpError::Unauthenticated),
        }
    }
}

/// The id that a caller names, with whatever secret.
pub fn claimed(headers: &HeaderMap) -> Option<AccessKeyId> {
    credential(headers).map(|(id, _)| id)
}

/// The id and the secret that a caller names; none of what cannot be both.
pub(in crate::http) fn credential(headers: &HeaderMap) -> Option<(AccessKeyId, Secret<Vec<u8>>)> {
    let mut all = headers.get_all(AUTHORIZATION);
    let (value, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let (text, dot) = if scheme.eq_ignore_ascii_case("basic") {
        (Secret::new(BASE64_STANDARD.decode(token).ok()?), b':')
    } else if scheme.eq_ignore_ascii_case("bearer") {
        (Secret::new(token.as_bytes().to_vec()), b'.')
    } else {
        return None;
    };
    let (id, rest) = text.expose().split_at_checked(AccessKeyId::LEN)?;
    let secret = rest.strip_prefix(&[dot])?;
    let id = AccessKeyId::parse(id)?;
    is_secret(secret).then(|| (id, Secret::new(secret.to_vec())))
}

pub(in crate::http) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub mod testing {
    //! Entrances for tests of what stands behind one.

    use super::*;
    use crate::actors::access::Public;
    use crate::actors::messages::AccessKeys;
    use crate::base::credential::secret_of;

    /// The id of the only key of `guarded`.
    pub const ID: [u8; 20] = [1; 20];

    /// The secret of it.
    pub fn secret() -> [u8; 40] {
        secret_of([2; 40])
    }

    /// An entrance that is known to have these keys.
    pub fn with_keys(keys: impl IntoIterator<Item = AccessKey>, may_be_open: bool) -> Entrance {
        let (keys, public) = (Arc::new(AccessKeys::of(keys)), Public::default());
        let known = Known { keys, lease: None, alone: true, unasked: false, public };
        Entrance::new(Access::new(known, || Duration::ZERO, || true), may_be_open)
    }

    /// An entrance with one key, that has these grants.
    pub fn guarded(grants: Vec<Grant>) -> Entrance {
        with_keys([AccessKey::unstored(AccessKeyId::drawn(ID), vec![Secret::new(secret())], grants)], true)
    }

    /// How the owner of that key calls.
    pub fn bearer() -> String {
        format!("Bearer {}.{}", AccessKeyId::drawn(ID), String::from_utf8_lossy(&secret()))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{ID, bearer, guarded, secret, with_keys};
    use super::*;
    use crate::actors::access::Public;
    use crate::actors::messages::AccessKeys;
    use crate::base::ObjectKey;
    use crate::http::testing::headers;
    use crate::register::Lease;

    fn bucket(name: &str) -> BucketName {
        BucketName::parse(name).expect("a bucket name")
    }

    fn object(at: &str) -> ObjectName {
        let (bucket_name, key) = at.split_once('/').expect("a bucket and a key");
        ObjectName { bucket: bucket(bucket_name), key: ObjectKey::parse(key).expect("a key") }
    }

    fn granted(grants: &[&str]) -> Principal {
        let grants = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        Principal::Key(Arc::new(AccessKey::unstored(AccessKeyId::drawn(ID), Vec::new(), grants)))
    }

    fn may(who: &Principal, need: Need<'_>) -> bool {
        match authorize(who, Some(&need), Some(&PublicBuckets::default())) {
            Ok(()) => true,
            Err(HttpError::AccessDenied) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_right_is_had_or_refused_and_says_nothing_of_another() {
        for asked in Right::ALL {
            let need = Need::on_node(asked);
            assert!(may(&Principal::Anyone, need) && !may(&Principal::Nobody, need));
            for held in Right::ALL {
                assert_eq!(may(&Principal::with(&[held]), need), held == asked, "{held:?} for {asked:?}");
            }
            let others: Vec<Right> = Right::ALL.into_iter().filter(|right| *right != asked).collect();
            assert!(!may(&Principal::with(&others), need), "{asked:?}");
        }
        assert!(authorize(&Principal::Nobody, None, None).is_ok(), "what needs nothing is open to everybody");
    }

    #[test]
    fn a_grant_is_for_its_buckets_and_its_keys() {
        let (abc, abd, xyz) = (bucket("abc"), bucket("abd"), bucket("xyz"));
        let who = granted(&["abc:read", "ab*/p/:write,list", "xyz:admin"]);
        assert!(may(&who, Need::on_object(Right::Read, &object("abc/k"))));
        assert!(!may(&who, Need::on_object(Right::Read, &object("abd/k"))));
        assert!(may(&who, Need::on_object(Right::Write, &object("abd/p/k"))));
        for outside in ["abd/p", "abd/q/k", "abd/P/k", "xyz/p/k", "acd/p/k"] {
            assert!(!may(&who, Need::on_object(Right::Write, &object(outside))), "{outside}");
        }
        for (prefix, listed) in [("p/", true), ("p/q", true), ("", false), ("p", false), ("q/", false)] {
            assert_eq!(may(&who, Need::under(Right::List, &abc, prefix)), listed, "{prefix:?}");
        }
        assert!(may(&who, Need::in_bucket(Right::List, &abd)) && !may(&who, Need::on_bucket(Right::List, &abd)));
        assert!(may(&who, Need::on_bucket(Right::Read, &abc)));
        assert!(may(&who, Need::on_bucket(Right::Admin, &xyz)) && !may(&who, Need::on_bucket(Right::Admin, &abc)));
        assert!(!may(&who, Need::on_node(Right::Admin)), "an admin of a bucket is none of the cluster");
    }

    #[test]
    fn the_cluster_takes_a_grant_on_everything() {
        for (grant, met) in [("*:admin", true), ("a*:admin", false), ("*/k:admin", false), ("*:read", false)] {
            assert_eq!(may(&granted(&[grant]), Need::on_node(Right::Admin)), met, "{grant}");
        }
        assert!(may(&granted(&["*:metrics"]), Need::on_node(Right::Metrics)));
        assert!(!may(&granted(&["*:metrics"]), Need::on_node(Right::Admin)));
        assert!(
            !may(&granted(&["*:admin"]), Need::on_node(Right::Metrics)),
            "a scraper needs no other, and no other has it"
        );
    }

    #[test]
    fn what_a_node_says_of_itself_takes_the_same_right_as_the_rest_of_it() {
        for (grant, met) in [("*:admin", true), ("a*:admin", false), ("*/k:admin", false), ("*:metrics", false)] {
            assert_eq!(may(&granted(&[grant]), Need::on_this_node(Right::Admin)), met, "{grant}");
        }
        assert!(Need::on_this_node(Right::Admin).is_of_this_node() && !Need::on_node(Right::Admin).is_of_this_node());
    }

    #[test]
    fn who_is_known_sees_what_any_grant_reaches() {
        let who = granted(&["abc/p/:read", "log*:list,metrics", "*:metrics"]);
        assert!(may(&who, Need::to_be_known()) && may(&granted(&[]), Need::to_be_known()));
        assert!(!may(&Principal::Nobody, Need::to_be_known()));
        assert!(who.reaches(&bucket("abc")) && who.reaches(&bucket("logs")));
        assert!(!who.reaches(&bucket("abd")), "a scraper learns no name");
        assert!(Principal::Anyone.reaches(&bucket("abd")) && !Principal::Nobody.reaches(&bucket("abc")));
    }

    #[test]
    fn who_may_not_list_is_not_told_what_is_missing() {
        let hides = |grants: &[&str], at: &str| {
            let at = object(at);
            let need = Need::on_object(Right::Read, &at).to_see_what_is_missing().expect("an object");
            !may(&granted(grants), need)
        };
        assert!(hides(&["abc:read"], "abc/k") && hides(&["abc:read", "abc/p/:list"], "abc/k"));
        assert!(!hides(&["abc:read,list"], "abc/k") && !hides(&["abc:read", "abc/p/:list"], "abc/p/k"));
        assert!(Need::on_node(Right::Read).to_see_what_is_missing().is_none());
    }

    #[test]
    fn what_is_open_to_everybody_is_read_and_listed_and_nothing_else() {
        let (abc, abd) = (bucket("abc"), bucket("abd"));
        let grants = PublicGrants::NONE
            .with("", Rights::of(&[Right::List]))
            .and_then(|grants| grants.with("p/", Rights::of(&[Right::Read])))
            .expect("two grants");
        let public = PublicBuckets::of([(abc.clone(), grants)]);
        let (in_p, beside, other) = (object("abc/p/k"), object("abc/k"), object("abd/p/k"));
        let link = || Principal::Link(Arc::new(AccessKey::unstored(AccessKeyId::drawn(ID), Vec::new(), Vec::new())));
        for (who, refused) in [(Principal::Guest, 401), (granted(&["xyz:read"]), 403), (link(), 403)] {
            let told = |need: &Need<'_>, public: Option<&PublicBuckets>| match authorize(&who, Some(need), public) {
                Ok(()) => 200,
                Err(HttpError::Unauthenticated) => 401,
                Err(HttpError::AccessDenied) => 403,
                Err(HttpError::AccessUnknown) => 503,
                Err(other) => panic!("{other}"),
            };
            for right in Right::ALL {
                let open = right == Right::Read || right == Right::List;
                for (need, is_open) in [
                    (Need::on_object(right, &in_p), open),
                    (Need::on_object(right, &beside), right == Right::List),
                    (Need::on_object(right, &other), false),
                    (Need::under(right, &abc, "p/q"), open),
                    (Need::on_bucket(right, &abc), right == Right::List),
                    (Need::on_bucket(right, &abd), false),
                    (Need::on_node(right), false),
                ] {
                    assert_eq!(told(&need, Some(&public)), if is_open { 200 } else { refused }, "{who:?}: {need:?}");
                    // Who does not know what is open says so, where it could be; what never is needs no knowing.
                    let unknown = if open && need.bucket.is_some() { 503 } else { refused };
                    assert_eq!(told(&need, None), unknown, "{who:?}: {need:?}");
                }
            }
        }
        let stranger = Need::to_be_known();
        assert!(matches!(
            authorize(&Principal::Guest, Some(&stranger), Some(&public)),
            Err(HttpError::Unauthenticated)
        ));
    }

    /// What the door says to somebody who calls like that.
    fn at_the_door(entrance: &Entrance, authorization: &[&str]) -> &'static str {
        let lines: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", *value)).collect();
        match entrance.who(&headers(&lines)) {
            Ok(Principal::Anyone) => "anyone",
            Ok(Principal::Key(_)) => "key",
            Ok(Principal::Guest) => "guest",
            Ok(Principal::Nobody | Principal::Link(_)) => "else",
            Err(HttpError::Unauthenticated) => "401",
            Err(HttpError::AccessUnknown) => "503",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_credential_comes_as_basic_or_bearer_whole_and_once() {
        let entrance = guarded(Vec::new());
        let (id, secret) = (AccessKeyId::drawn(ID).to_string(), String::from_utf8_lossy(&secret()).into_owned());
        let basic = |text: String| format!("Basic {}", BASE64_STANDARD.encode(text));
        let good = [bearer(), bearer().replace("Bearer ", "bEARER   "), basic(format!("{id}:{secret}"))];
        for good in &good {
            assert_eq!(at_the_door(&entrance, &[good.as_str()]), "key", "{good}");
            assert_eq!(at_the_door(&entrance, &[good.as_str(), good.as_str()]), "401", "twice is not once");
        }
        let other = AccessKeyId::drawn([9; 20]);
        let bad = [
            String::new(),
            "Bearer".to_owned(),
            format!("Bearer {id}"),
            format!("Bearer {id}:{secret}"),
            format!("Bearer {id}.{secret}A"),
            format!("Bearer {id}.{}", &secret[1..]),
            format!("Bearer {id}.{}", secret.to_lowercase()),
            format!("Bearer {id}.{}A", &secret[..39]),
            format!("Bearer {other}.{secret}"),
            format!("Token {id}.{secret}"),
            format!("{id}.{secret}"),
            basic(format!("{id}.{secret}")),
            basic(format!("{other}:{secret}")),
            basic(id.clone()),
            format!("Basic {id}:{secret}"),
        ];
        for bad in &bad {
            assert_eq!(at_the_door(&entrance, &[bad.as_str()]), "401", "{bad}");
        }
        assert_eq!(at_the_door(&entrance, &[]), "guest");
    }

    #[test]
    fn a_door_is_open_until_there_is_a_first_key_and_only_where_it_may_be() {
        assert_eq!(at_the_door(&with_keys([], true), &[]), "anyone");
        assert_eq!(at_the_door(&with_keys([], false), &[]), "guest");
        assert_eq!(at_the_door(&guarded(Vec::new()), &[]), "guest");
    }

    #[test]
    fn keys_that_are_disabled_or_expired_let_nobody_in() {
        let key = |expires_ms, disabled| {
            let mut key = AccessKey::unstored(AccessKeyId::drawn(ID), vec![Secret::new(secret())], Vec::new());
            (key.expires_ms, key.disabled) = (expires_ms, disabled);
            with_keys([key], false)
        };
        let bearer = bearer();
        assert_eq!(at_the_door(&key(now_ms() + 60_000, false), &[&bearer]), "key");
        assert_eq!(at_the_door(&key(now_ms() - 1, false), &[&bearer]), "401");
        assert_eq!(at_the_door(&key(0, true), &[&bearer]), "401");
    }

    #[test]
    fn where_nobody_knows_what_is_in_force_nobody_comes_in() {
        let key = || AccessKey::unstored(AccessKeyId::drawn(ID), vec![Secret::new(secret())], Vec::new());
        let door = |lease: Option<u64>, with_key: bool| {
            let keys = Arc::new(AccessKeys::of(with_key.then(key)));
            let lease = lease.map(|ms| Lease::since(Duration::from_millis(ms)));
            let known = Known { keys, lease, alone: false, unasked: false, public: Public::default() };
            let access = Access::new(known, || Duration::from_secs(10), || true);
            Entrance::new(access, true)
        };
        let bearer = bearer();
        assert_eq!(at_the_door(&door(Some(9_500), true), &[&bearer]), "key");
        assert_eq!(at_the_door(&door(Some(9_000), true), &[&bearer]), "503", "it was too long ago");
        assert_eq!(at_the_door(&door(None, true), &[&bearer]), "503");
        assert_eq!(at_the_door(&door(None, true), &[]), "503");
        assert_eq!(at_the_door(&door(None, false), &[]), "anyone", "no key was ever heard of");
        // But what the node says of itself is told by what was known last.
        let lately = |door: Entrance, bearer: &str| door.who_lately(&headers(&[("authorization", bearer)])).is_ok();
        assert!(lately(door(Some(9_000), true), &bearer) && lately(door(None, true), &bearer));
        assert!(!lately(door(Some(9_000), true), &bearer.replace("Bearer", "Token")) && lately(door(None, false), ""));
    }
}
