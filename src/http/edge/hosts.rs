//! Under which names clients reach this node, and whose pages may write: a browser sends the credential that it was given
//! with every page's requests, and to an open node any page in it could write.
//!
//! Invariants
//! - A name that somebody on the Internet may own, and point at this machine, is not ours unless it was configured.
//!   Addresses are nobody's names; a name without a dot, and `localhost`, belong to this machine or its network.
//! - A request for a change from a page of another origin is refused, whatever the Host.
//! - A request has one host: where its target names one, the header names the same. A signature covers the header.
//! - Programs that are no browsers send no `Origin` and no `Sec-Fetch-Site`, and are not concerned.

use super::errors::HttpError;
use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use std::net::{IpAddr, Ipv6Addr};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names of a node, as clients use them.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Lower case; one that begins with `*.` stands for all below it.
    named: Vec<String>,
    /// Whether a name that is not ours is refused.
    checked: bool,
}

/// A host, and the port where one is named.
#[derive(Debug, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Hosts {
    /// The configured names. Where there are none, names are checked only where `alone` this machine reaches the port:
    /// who opens it to a network knows under which names, and need not say.
    pub fn new(named: &[String], alone: bool) -> Self {
        let named: Vec<String> = named.iter().map(|name| plain(name)).collect();
        Hosts { checked: alone || !named.is_empty(), named }
    }

    /// The same with domains as names besides, each with all below it. They are no reason to check.
    pub fn with_domains(mut self, domains: &[String]) -> Self {
        self.named.extend(domains.iter().map(|name| plain(name)).flat_map(|name| [format!("*.{name}"), name]));
        self
    }

    /// Refuses a request under a name of somebody else, and a write from a page of somebody else.
    pub(super) fn judge(&self, req: &HttpRequest) -> Result<(), HttpError> {
        let in_head = req.headers().get(header::HOST).map(|value| value.to_str().map_err(|_| HttpError::ForeignHost));
        let in_head = in_head.transpose()?.map(str::trim);
        let in_target = req.uri().authority().map(|authority| authority.as_str());
        let named = in_target.or(in_head);
        let asked = match named.filter(|text| !text.is_empty()) {
            Some(text) => Some(Authority::parse(text).ok_or(HttpError::ForeignHost)?),
            None => None,
        };
        if self.checked && asked.as_ref().is_some_and(|asked| !self.is_ours(&asked.host)) {
            return Err(HttpError::ForeignHost);
        }
        if let (Some(target), Some(head)) = (in_target, in_head)
            && !target.eq_ignore_ascii_case(head)
        {
            return Err(HttpError::Header("the Host header names another host than the target of the request"));
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(req.method());
        if reads || self.may_write(req.headers(), asked.as_ref()) { Ok(()) } else { Err(HttpError::ForeignOrigin) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let local = !host.contains('.') || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok();
        local || self.is_named(host)
    }

    fn is_named(&self, host: &str) -> bool {
        let below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        self.named.iter().any(|name| name == host || name.strip_prefix("*.").is_some_and(below))
    }

    fn may_write(&self, headers: &HeaderMap, asked: Option<&Authority>) -> bool {
        let mut origins = headers.get_all(header::ORIGIN);
        let (origin, more) = (origins.next(), origins.next());
        let Some(origin) = origin else {
            let cross = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"cross-site");
            return !headers.get_all(SEC_FETCH_SITE).any(cross);
        };
        // `null` is the origin of pages that hide theirs.
        let Some((scheme, rest)) = origin.to_str().ok().and_then(|text| text.trim().split_once("://")) else {
            return false;
        };
        let Some(origin) = Authority::parse(rest).filter(|_| more.is_none()) else { return false };
        if self.is_named(&origin.host) {
            return true;
        }
        // A proxy may leave the port out.
        let port = |authority: &Authority| authority.port.or(default_port(scheme));
        asked.is_some_and(|asked| asked.host == origin.host && port(asked) == port(&origin))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A name as it is compared: in lower case, without the dot that ends a full name.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, behind) = rest.split_once(']')?;
                let address: Ipv6Addr = inner.parse().ok()?;
                (address.to_string(), behind.strip_prefix(':').or_else(|| behind.is_empty().then_some(""))?)
            }
            None => {
                let (host, port) = text.split_once(':').unwrap_or((text, ""));
                let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                (Some(plain(host)).filter(|host| !host.is_empty() && host.bytes().all(fits))?, port)
            }
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(Authority { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn judged(hosts: &Hosts, method: Method, headers: &[(&str, &str)]) -> &'static str {
        let mut request = TestRequest::with_uri("/v1/buckets").method(method);
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        match hosts.judge(&request.to_http_request()) {
            Ok(()) => "served",
            Err(HttpError::ForeignHost) => "host",
            Err(HttpError::ForeignOrigin) => "origin",
            Err(_) => "else",
        }
    }

    fn hosts(named: &[&str], alone: bool) -> Hosts {
        Hosts::new(&named.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), alone)
    }

    #[test]
    fn names_that_others_may_own_are_not_ours() {
        let (alone, open) = (hosts(&[], true), hosts(&[], false));
        let configured = hosts(&["Store.example.org", "*.svc.cluster.local"], false);
        for (host, at_home, with_names) in [
            ("localhost:5000", true, true),
            ("LOCALHOST.", true, true),
            ("x.localhost", true, true),
            ("127.0.0.1:5000", true, true),
            ("[::1]:5000", true, true),
            ("10.1.2.3", true, true),
            ("boveda-0", true, true),
            ("", true, true),
            ("attacker.example", false, false),
            ("attacker.example:5000", false, false),
            ("localhost.attacker.example", false, false),
            ("127.0.0.1.nip.io", false, false),
            ("xlocalhost.example", false, false),
            ("a@attacker.example", false, false),
            ("x/y", false, false),
            ("[::1", false, false),
            ("localhost:x", false, false),
            ("store.example.org", false, true),
            ("STORE.EXAMPLE.ORG.:8443", false, true),
            ("not-store.example.org", false, false),
            ("boveda.ns.svc.cluster.local", false, true),
            ("svc.cluster.local", false, false),
            (".svc.cluster.local", false, false),
        ] {
            let told = |ok| if ok { "served" } else { "host" };
            for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
                assert_eq!(judged(&alone, method.clone(), &[("host", host)]), told(at_home), "{host}");
                assert_eq!(judged(&configured, method, &[("host", host)]), told(with_names), "{host}");
            }
        }
        assert_eq!(judged(&open, Method::GET, &[("host", "anything.example")]), "served");
        assert_eq!(judged(&alone, Method::GET, &[]), "served");
    }

    #[test]
    fn a_request_has_one_host() {
        let domains = hosts(&[], false).with_domains(&["s3.example.org".to_owned()]);
        for (uri, host, is_one) in [
            ("http://s3.example.org/k", "s3.example.org", true),
            ("http://S3.example.org:81/k", "s3.Example.org:81", true),
            ("http://abc.s3.example.org/k", "s3.example.org", false),
            ("http://s3.example.org/k", "abc.s3.example.org", false),
            ("http://s3.example.org:80/k", "s3.example.org", false),
            ("http://abc.s3.example.org:1@s3.example.org/k", "s3.example.org", false),
            ("http://s3.example.org./k", "s3.example.org", false),
            ("http://s3.example.org/k", "", false),
        ] {
            let judged = domains.judge(&TestRequest::with_uri(uri).append_header(("host", host)).to_http_request());
            assert_eq!(judged.is_ok(), is_one, "{uri} and {host}: {judged:?}");
        }
        let alone = hosts(&[], true);
        let absolute = |uri: &str| alone.judge(&TestRequest::with_uri(uri).to_http_request());
        assert!(absolute("http://localhost/v1").is_ok() && absolute("http://attacker.example/v1").is_err());
    }

    #[test]
    fn pages_of_others_read_nothing_and_write_nothing() {
        let (alone, open) = (hosts(&[], true), hosts(&["app.example.org"], false));
        let host = ("host", "127.0.0.1:5000");
        for (headers, told) in [
            (&[host][..], "served"),
            (&[host, ("origin", "http://127.0.0.1:5000")], "served"),
            (&[("host", "localhost"), ("origin", "http://localhost")], "served"),
            (&[("host", "localhost"), ("origin", "https://localhost:443")], "served"),
            (&[host, ("sec-fetch-site", "same-origin")], "served"),
            (&[host, ("sec-fetch-site", "none")], "served"),
            (&[host, ("sec-fetch-site", "cross-site")], "origin"),
            (&[host, ("origin", "null")], "origin"),
            (&[host, ("origin", "http://127.0.0.1:3000")], "origin"),
            (&[host, ("origin", "https://127.0.0.1")], "origin"),
            (&[host, ("origin", "https://attacker.example")], "origin"),
            (&[host, ("origin", "http://127.0.0.1:5000"), ("origin", "http://a.example")], "origin"),
            (&[("origin", "http://127.0.0.1:5000")], "origin"),
        ] {
            for method in [Method::PUT, Method::POST, Method::DELETE] {
                assert_eq!(judged(&alone, method.clone(), headers), told, "{headers:?}");
                assert_eq!(judged(&open, method, headers), told, "{headers:?}");
            }
            assert_eq!(
                judged(&alone, Method::GET, headers),
                "served",
                "{headers:?}: what is read, its page may not see"
            );
        }
        let page = [host, ("origin", "https://app.example.org"), ("sec-fetch-site", "cross-site")];
        assert_eq!(judged(&open, Method::POST, &page), "served");
        assert_eq!(judged(&alone, Method::POST, &page), "origin");
    }
}
