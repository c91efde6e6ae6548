//! Counters of this room, and everything numeric as Prometheus text. A number of another room stands in the status
//! snapshot (`store::status`, `actors::status`) and comes out as `counted` says.
//!
//! Each worker counts in its own shard, without a lock or a shared cache line; `/metrics` adds the
//! shards up. What other rooms know comes as the status snapshot, flattened: a number becomes a counter or a gauge
//! named by its place, a list of things becomes one sample per thing, labelled by its name.

use super::accept::{Failed, Handshakes};
use super::connections::Connections;
use super::counted;
use super::errors::HttpError;
use super::readiness::Conditions;
use super::turned_away::{REASONS, reason};
use crate::actors::messages::BucketInfo;
use crate::base::budget::BudgetLevel;
use actix_web::http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the duration histogram, in microseconds and as text in seconds.
const BOUNDS: [(u64, &str); 12] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

type Counter = AtomicU64;

/// What stands around the counters: how the ports are now.
pub(super) struct Around<'a> {
    pub budget: BudgetLevel,
    pub connections: &'a Connections,
    pub handshakes: &'a Handshakes,
    /// Access keys that this node knows of.
    pub access_keys: usize,
    /// Whether it can tell that they are those in force.
    pub access_fresh: bool,
    pub conditions: &'a Conditions,
}

/// The counters of one label.
#[derive(Default)]
struct Requests {
    by_method: [[Counter; CLASSES.len()]; METHODS.len()],
    durations: [Counter; BOUNDS.len() + 1],
    duration_us: Counter,
}

/// The counters of one worker.
pub(super) struct Shard {
    labels: &'static [&'static str],
    requests: Vec<Requests>,
    started: Counter,
    ended: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    refused: [Counter; REASONS.len()],
}

impl Shard {
    fn new(labels: &'static [&'static str]) -> Self {
        let zero = || Counter::new(0);
        let (started, ended, bytes_in, bytes_out) = (zero(), zero(), zero(), zero());
        let requests = labels.iter().map(|_| Requests::default()).collect();
        let refused = std::array::from_fn(|_| zero());
        Shard { labels, requests, started, ended, bytes_in, bytes_out, refused }
    }

    /// A request begins to be handled; dropping the guard ends it, also when the client left.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.started.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A request was answered. `label`: which of the labels is its own.
    pub(super) fn answered(&self, label: usize, method: &Method, status: u16, took: Duration) {
        let Some(requests) = self.requests.get(label) else { return };
        let name = method.as_str();
        let method = METHODS.iter().position(|known| *known == name).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| micros <= *bound).unwrap_or(BOUNDS.len());
        add(requests.by_method.get(method).and_then(|classes| classes.get(class)), 1);
        add(requests.durations.get(bucket), 1);
        requests.duration_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// A request was not served; counted where somebody was not let in. `has_named`: whether they claimed to be somebody.
    pub(super) fn refused(&self, error: &HttpError, has_named: bool) {
        add(reason(error, has_named).and_then(|at| self.refused.get(at)), 1);
    }

    /// Body bytes came in.
    pub(super) fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Body bytes went out.
    pub(super) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn add(counter: Option<&Counter>, amount: u64) {
    if let Some(counter) = counter {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// A request that is being handled.
pub(super) struct InFlight(Arc<Shard>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of all workers.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Vec<Arc<Shard>>>);

impl Metrics {
    /// Counters for one more worker, whose port counts under `labels`.
    pub(super) fn shard(&self, labels: &'static [&'static str]) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(labels));
        self.shards().push(Arc::clone(&shard));
        shard
    }

    fn shards(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Shard>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as Prometheus text (version 0.0.4).
    pub(super) fn expose(&self, around: &Around<'_>, status: &Value) -> String {
        let Around { budget, connections, handshakes, conditions, .. } = around;
        let shards = self.shards();
        let sum = |pick: &dyn Fn(&Shard) -> u64| shards.iter().map(|s| pick(s)).sum::<u64>();
        let mut out = Text::default();
        expose_requests(&mut out, &shards);
        let in_flight = sum(&|s| value(&s.started)).saturating_sub(sum(&|s| value(&s.ended)));
        for (name, kind, help, amount) in [
            ("boveda_http_body_bytes_in_total", "counter", "Body bytes received.", sum(&|s| value(&s.bytes_in))),
            ("boveda_http_body_bytes_out_total", "counter", "Body bytes sent.", sum(&|s| value(&s.bytes_out))),
            ("boveda_http_in_flight", "gauge", "Requests being handled.", in_flight),
            ("boveda_http_connections", "gauge", "Open connections.", connections.count() as u64),
            ("boveda_http_connections_cut_total", "counter", "Connections cut off as stuck.", connections.cut_off()),
            ("boveda_budget_requests", "gauge", "Requests that hold a permit.", budget.requests),
            ("boveda_budget_requests_max", "gauge", "Most requests that may hold one.", budget.requests_max),
            ("boveda_budget_bytes", "gauge", "Bytes that permits stand for.", budget.bytes),
            ("boveda_budget_bytes_max", "gauge", "Most bytes that permits may stand for.", budget.bytes_max),
            ("boveda_budget_refused_total", "counter", "Permits refused.", budget.refused),
            ("boveda_access_keys", "gauge", "Access keys that this node knows of.", around.access_keys as u64),
            ("boveda_access_fresh", "gauge", "Whether it can tell which are in force.", u64::from(around.access_fresh)),
            ("boveda_tls_handshakes_total", "counter", "TLS handshakes that came to an end.", handshakes.done()),
            ("boveda_ready", "gauge", "Whether this node takes requests.", u64::from(conditions.missing.is_empty())),
        ] {
            out.family(name, kind, help);
            out.sample(name, "", amount);
        }
        out.family("boveda_access_refused_total", "counter", "Requests of callers who were not let in.");
        for (at, reason) in REASONS.iter().enumerate() {
            let count = sum(&|s| s.refused.get(at).map_or(0, value));
            out.sample("boveda_access_refused_total", &format!("reason=\"{reason}\""), count);
        }
        out.family("boveda_tls_handshakes_failed_total", "counter", "Connections that came to no request for TLS.");
        for why in Failed::ALL {
            let labels = format!("reason=\"{}\"", why.word());
            out.sample("boveda_tls_handshakes_failed_total", &labels, handshakes.failed(why));
        }
        out.family("boveda_missing", "gauge", "What this node lacks to take requests; /readyz says why.");
        for what in conditions.missing.keys() {
            out.sample("boveda_missing", &format!("what=\"{what}\""), 1);
        }
        out.family("boveda_degraded", "gauge", "What is wrong while the node takes requests; /readyz says why.");
        for what in conditions.degraded.keys() {
            out.sample("boveda_degraded", &format!("what=\"{what}\""), 1);
        }
        out.status(status);
        out.0
    }
}

/// What the ports answered, by route, and how long it took.
fn expose_requests(out: &mut Text, shards: &[Arc<Shard>]) {
    let labels = labels(shards);
    let of = |label: &str, pick: &dyn Fn(&Requests) -> u64| {
        let own = shards.iter().filter_map(|s| s.requests.get(s.labels.iter().position(|l| *l == label)?));
        own.map(pick).sum::<u64>()
    };
    out.family("boveda_http_requests_total", "counter", "Requests answered.");
    for label in &labels {
        for (m, method) in METHODS.iter().enumerate() {
            for (c, class) in CLASSES.iter().enumerate() {
                let count = of(label, &|r| value(&r.by_method[m][c]));
                if count > 0 {
                    let labels = format!("route=\"{label}\",method=\"{method}\",status=\"{class}\"");
                    out.sample("boveda_http_requests_total", &labels, count);
                }
            }
        }
    }
    out.family("boveda_http_request_duration_seconds", "histogram", "Time until the answer's head was ready.");
    for label in &labels {
        let mut below = 0;
        for (b, (_, bound)) in BOUNDS.iter().enumerate() {
            below += of(label, &|r| value(&r.durations[b]));
            let labels = format!("route=\"{label}\",le=\"{bound}\"");
            out.sample("boveda_http_request_duration_seconds_bucket", &labels, below);
        }
        below += of(label, &|r| value(&r.durations[BOUNDS.len()]));
        let (route, all) = (format!("route=\"{label}\""), format!("route=\"{label}\",le=\"+Inf\""));
        out.sample("boveda_http_request_duration_seconds_bucket", &all, below);
        let micros = of(label, &|r| value(&r.duration_us));
        let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        out.sample("boveda_http_request_duration_seconds_sum", &route, seconds);
        out.sample("boveda_http_request_duration_seconds_count", &route, below);
    }
}

fn value(counter: &Counter) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The labels of all ports, each once, in the order in which they were first counted under.
fn labels(shards: &[Arc<Shard>]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for label in shards.iter().flat_map(|shard| shard.labels) {
        if !all.contains(label) {
            all.push(*label);
        }
    }
    all
}

/// Most buckets that are told one by one: those that hold the most bytes.
const BUCKETS_MAX: usize = 1000;

/// What buckets hold on this node, and how much they may, as Prometheus text.
pub(in crate::http) fn expose_buckets(mut all: Vec<BucketInfo>) -> String {
    all.sort_by(|a, b| (b.usage.bytes, &a.name).cmp(&(a.usage.bytes, &b.name)));
    let untold = all.len().saturating_sub(BUCKETS_MAX);
    all.truncate(BUCKETS_MAX);
    let mut out = Text::default();
    type Pick = fn(&BucketInfo) -> Option<u64>;
    let families: [(&str, &str, Pick); 4] = [
        ("boveda_bucket_objects", "Objects of a bucket that this node holds.", |b| Some(b.usage.objects)),
        ("boveda_bucket_bytes", "Their bytes, as clients see them.", |b| Some(b.usage.bytes)),
        ("boveda_bucket_quota_objects", "Most objects that a bucket may hold.", |b| b.quota.objects),
        ("boveda_bucket_quota_bytes", "Most bytes that a bucket may hold.", |b| b.quota.bytes),
    ];
    for (name, help, pick) in families {
        out.family(name, "gauge", help);
        for (bucket, value) in all.iter().filter_map(|bucket| Some((bucket, pick(bucket)?))) {
            out.sample(name, &format!("bucket=\"{}\"", bucket.name), value);
        }
    }
    out.family("boveda_buckets_untold", "gauge", "Buckets beyond the 1000 largest, which are not told one by one.");
    out.sample("boveda_buckets_untold", "", untold);
    out.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    /// Flattens the status snapshot. Samples of one name must stand together, so they are sorted first.
    fn status(&mut self, status: &Value) {
        let mut samples = BTreeMap::new();
        flatten("boveda", "", status, &mut samples);
        for (name, lines) in samples {
            let kind = if counted::only_grows(&name) { "counter" } else { "gauge" };
            self.family(&name, kind, "From the status snapshot; see /v1/cluster.");
            for (labels, value) in lines {
                self.sample(&name, &labels, value);
            }
        }
    }
}

/// By name: labels and value.
type Samples = BTreeMap<String, Vec<(String, String)>>;

/// Members whose text tells the elements of a list apart.
const NAMING: [&str; 4] = ["name", "peer", "node", "id"];

fn flatten(name: &str, labels: &str, value: &Value, out: &mut Samples) {
    match value {
        Value::Number(number) => out.entry(name.to_owned()).or_default().push((labels.to_owned(), number.to_string())),
        Value::Bool(flag) => {
            out.entry(name.to_owned()).or_default().push((labels.to_owned(), u8::from(*flag).to_string()));
        }
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{name}_{}", metric_word(member)), labels, value, out);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let named = NAMING.iter().find_map(|key| Some((*key, element.get(key)?.as_str()?.to_owned())));
                let (key, text) = named.unwrap_or_else(|| ("index", index.to_string()));
                let comma = if labels.is_empty() { "" } else { "," };
                flatten(name, &format!("{labels}{comma}{key}=\"{}\"", label_text(&text)), element, out);
            }
        }
        Value::String(_) | Value::Null => {}
    }
}

fn metric_word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn label_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketName, BucketUsage, Budget, PublicGrants, Quota};

    #[test]
    fn the_largest_buckets_are_told_one_by_one_and_the_others_counted() {
        let bucket = |n: u64| BucketInfo {
            name: BucketName::parse(&format!("b-{n:05}")).unwrap(),
            created_ms: 1,
            etag: Default::default(),
            quota: Quota { objects: None, bytes: (n == 5).then_some(9) },
            usage: BucketUsage { objects: 1, bytes: n },
            public: PublicGrants::NONE,
        };
        let text = expose_buckets((0..1003).map(bucket).collect());
        let samples = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
        let all = [
            "boveda_bucket_objects",
            "boveda_bucket_bytes",
            "boveda_bucket_quota_objects",
            "boveda_bucket_quota_bytes",
        ];
        assert_eq!(all.map(samples), [1000, 1000, 0, 1]);
        for line in ["boveda_bucket_bytes{bucket=\"b-00003\"} 3", "boveda_buckets_untold 3"] {
            assert!(text.lines().any(|l| l == line), "{line} is missing");
        }
        assert!(!text.contains("b-00002"), "it is among the smallest");
    }

    #[test]
    fn shards_add_up_and_the_text_is_well_formed() {
        let metrics = Metrics::default();
        const LABELS: &[&str] = &["cargar", "objects"];
        const OTHERS: &[&str] = &["s3_objects"];
        let (a, b, c) = (metrics.shard(LABELS), metrics.shard(LABELS), metrics.shard(OTHERS));
        let open = a.begin();
        drop(b.begin());
        a.answered(1, &Method::GET, 200, Duration::from_micros(300));
        b.answered(1, &Method::GET, 206, Duration::from_secs(60));
        c.answered(0, &Method::GET, 200, Duration::ZERO);
        c.answered(1, &Method::GET, 200, Duration::ZERO);
        b.answered(0, &Method::from_bytes(b"BREW").unwrap(), 405, Duration::ZERO);
        a.received(5);
        b.sent(7);
        let status = serde_json::json!({
            "store": {"objects": 3, "poisoned": false, "name": "x"},
            "replicas": [{"peer": "n\"2", "changes_behind": 9}, {"peer": "n3", "changes_behind": 0}],
            "free-bytes": 1.5, "nothing": null,
        });
        let conditions = Conditions { degraded: [("disk", "full".to_owned())].into(), ..Conditions::default() };
        b.refused(&HttpError::Unauthenticated, false);
        b.refused(&HttpError::NoRoute, true);
        let around = Around {
            budget: Budget::new(4, 8).level(),
            connections: &Connections::new(0),
            handshakes: &Handshakes::default(),
            access_keys: 3,
            access_fresh: true,
            conditions: &conditions,
        };
        let text = metrics.expose(&around, &status);
        for line in [
            "boveda_http_requests_total{route=\"objects\",method=\"GET\",status=\"2xx\"} 2",
            "boveda_http_requests_total{route=\"cargar\",method=\"other\",status=\"4xx\"} 1",
            "boveda_http_requests_total{route=\"s3_objects\",method=\"GET\",status=\"2xx\"} 1",
            "boveda_http_request_duration_seconds_bucket{route=\"objects\",le=\"0.00025\"} 0",
            "boveda_http_request_duration_seconds_bucket{route=\"objects\",le=\"0.0005\"} 1",
            "boveda_http_request_duration_seconds_bucket{route=\"objects\",le=\"+Inf\"} 2",
            "boveda_http_request_duration_seconds_sum{route=\"objects\"} 60.000300",
            "boveda_http_request_duration_seconds_count{route=\"objects\"} 2",
            "boveda_http_in_flight 1",
            "boveda_http_body_bytes_in_total 5",
            "boveda_http_body_bytes_out_total 7",
            "boveda_budget_bytes_max 8",
            "boveda_ready 1",
            "boveda_access_keys 3",
            "boveda_access_refused_total{reason=\"no_key\"} 1",
            "boveda_access_refused_total{reason=\"no_right\"} 0",
            "boveda_tls_handshakes_failed_total{reason=\"late\"} 0",
            "# TYPE boveda_store_objects gauge",
            "boveda_degraded{what=\"disk\"} 1",
            "boveda_store_objects 3",
            "boveda_store_poisoned 0",
            "boveda_replicas_changes_behind{peer=\"n\\\"2\"} 9",
            "boveda_replicas_changes_behind{peer=\"n3\"} 0",
            "boveda_free_bytes 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        drop(open);
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines().filter(|l| l.starts_with("# TYPE ")) {
            assert!(seen.insert(line.to_owned()), "twice: {line}");
        }
    }
}
