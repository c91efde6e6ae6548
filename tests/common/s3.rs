//! A client of S3 for tests: it signs what it asks, and nothing else.

use super::{Answer, Conn, Key, Node};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use boveda::base::{AccessKeyId, Credential, Secret};
use boveda::seal::digest::Md5;
use boveda::sign::canonical::{Request, canonical, escaped_path};
use boveda::sign::presign::Link;
use boveda::sign::sigv4::{ALGORITHM, Scope, Second, hex, signature, string_to_sign};
use std::time::{SystemTime, UNIX_EPOCH};

/// The digest of a body that whoever signs does not say.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who asks a node's S3 port, by an access key.
pub struct S3<'a> {
    node: &'a Node,
    key: Key,
    region: &'static str,
}

impl<'a> S3<'a> {
    /// A client by that key.
    pub fn new(node: &'a Node, key: &Key) -> Self {
        S3 { node, key: key.clone(), region: "us-east-1" }
    }

    /// The same, that signs for another region.
    pub fn of_region(self, region: &'static str) -> Self {
        S3 { region, ..self }
    }

    /// One signed request. `target`: path and query as they are sent.
    #[track_caller]
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.ask_at(Conn::HOST, method, target, headers, body)
    }

    /// The same by that name of the node.
    #[track_caller]
    pub fn ask_at(&self, host: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let signed = self.signed(host, method, target, headers);
        let all: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut conn = Conn::open(self.node.s3()).expect("the node takes connections");
        conn.ask_at(host, method, target, &all, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// A link to a path, with these parameters: the target of a request that needs nothing else.
    pub fn link(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        self.link_for(60, method, path, query)
    }

    /// The same that counts for some seconds.
    pub fn link_for(&self, expires_s: u64, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        let id = AccessKeyId::parse(self.key.id.as_bytes()).expect("an id");
        let secret = Secret::new(self.key.secret.as_bytes().try_into().expect("a secret"));
        let at_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time of today").as_secs();
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let link = Link { method, path, host: Conn::HOST, at_s, expires_s, headers: &[], query: &query };
        format!("{path}?{}", link.query_by(&Credential { id, secret }))
    }

    /// One request by a link, which nothing else signs.
    #[track_caller]
    pub fn by_link(&self, method: &str, link: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut conn = Conn::open(self.node.s3()).expect("the node takes connections");
        conn.ask(method, link, headers, body).unwrap_or_else(|e| panic!("{method} {link}: {e}"))
    }

    /// The headers of a request, with those that sign it.
    pub fn signed(&self, host: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let at = Second(now_s());
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        let payload = match all.iter().find(|(name, _)| name == "x-amz-content-sha256") {
            Some((_, given)) => given.clone(),
            None => {
                all.push(("x-amz-content-sha256".to_owned(), UNSIGNED.to_owned()));
                UNSIGNED.to_owned()
            }
        };
        all.push(("x-amz-date".to_owned(), at.to_string()));
        let mut covered = all.clone();
        covered.push(("host".to_owned(), host.to_owned()));
        covered.sort();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request { method, path, query: &pairs(query), headers: &covered, payload: &payload };
        let scope = Scope { date: at.date(), region: self.region.to_owned(), service: "s3".to_owned() };
        let to_sign = string_to_sign(at, &scope, &canonical(&request));
        let names: Vec<&str> = covered.iter().map(|(name, _)| name.as_str()).collect();
        all.push((
            "authorization".to_owned(),
            format!(
                "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
                self.key.id,
                names.join(";"),
                hex(&signature(self.key.secret.as_bytes(), &scope, &to_sign))
            ),
        ));
        all
    }
}

/// Now, in seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time of today").as_secs()
}

/// A link to a target, made at that second by whoever has the key, which counts for ten minutes; it fixes these headers.
pub fn link(key: &Key, method: &str, target: &str, headers: &[(&str, &str)], at_s: u64) -> String {
    let by = Credential::of(&key.id, &key.secret).expect("a key");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
    let (query, headers) = (&pairs(query), &headers[..]);
    let link = Link { method, path, host: Conn::HOST, at_s, expires_s: 600, headers, query };
    format!("{path}?{}", link.query_by(&by))
}

/// `Content-MD5` of a body.
pub fn md5_of(body: &[u8]) -> String {
    let mut md5 = Md5::default();
    md5.update(body);
    BASE64_STANDARD.encode(md5.finalize())
}

/// A path of bucket and key, escaped as it is signed.
pub fn path(bucket: &str, key: &str) -> String {
    escaped_path(&format!("/{bucket}/{key}"))
}

/// The parameters of a query that escapes nothing but by `%`.
fn pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, behind)) = rest.split_first() {
            let (byte, next) = match (first, behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())) {
                (b'%', Some(hex)) => (u8::from_str_radix(hex, 16).expect("an escape"), &behind[2..]),
                (first, _) => (*first, behind),
            };
            bytes.push(byte);
            rest = next;
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    let each = query.split('&').filter(|pair| !pair.is_empty());
    each.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (plain(n), plain(v))).collect()
}

/// The text of an element of an answer, the first of its name.
pub fn text<'a>(answer: &'a str, element: &str) -> Option<&'a str> {
    let behind = answer.split_once(&format!("<{element}>"))?.1;
    Some(behind.split_once(&format!("</{element}>"))?.0)
}

/// A node with these settings, and a key for everything on it.
pub fn started(settings: &[(&str, &str)]) -> (Node, Key) {
    let mut node = Node::with(settings);
    let key = node.new_key("root", &["*:read,write,list,delete,admin"]);
    node.ask_by(&key);
    (node, key)
}

/// Status and code of an answer.
pub fn told(answer: &Answer) -> (u16, String) {
    (answer.status, text(answer.text(), "Code").unwrap_or_default().to_owned())
}

/// The texts of all elements of that name.
pub fn texts<'a>(answer: &'a str, element: &str) -> Vec<&'a str> {
    let (opening, closing) = (format!("<{element}>"), format!("</{element}>"));
    answer.split(&opening).skip(1).filter_map(|behind| Some(behind.split_once(&closing)?.0)).collect()
}
