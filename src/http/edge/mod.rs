//! The edge: what every port has, whatever it speaks.
//!
//! From the socket to the answer:
//!
//! | file | what it does |
//! |---|---|
//! | `server` | sockets and workers of one port |
//! | `accept`, `socket` | a connection before its first request: its limits, and TLS where the port has it; its bytes |
//! | `turnstile`, `framing` | one request at a time on a connection; where a head and a body end |
//! | `refusal` | what is said of a head that the server below refuses |
//! | `connections` | how many, from where, and which are stuck |
//! | `handle` | one request from its head to its answer, the same for every port |
//! | `protocol` | what a port adds: routes, endpoints, answers, and how it tells a problem |
//! | `hosts` | under which names the node is reached, and whose pages may write |
//! | `access` | who calls, which right an endpoint needs, and the one place that asks |
//! | `signed` | who has signed the head of a request, and what that says of its body |
//! | `link` | who comes by a link that somebody with a key has signed |
//! | `deed`, `trail` | what an endpoint does, for the audit log; the lines that a request leaves there |
//! | `request_id` | the id of a request |
//!
//! What went wrong, and what is said of it:
//!
//! | file | what it does |
//! |---|---|
//! | `errors` | why a request was not served: causes, for the log |
//! | `problem` | what a client is told: kind, status, code, headers; in no language yet |
//! | `classify` | which problem an error is |
//! | `english` | the texts, for every port |
//!
//! Bodies:
//!
//! | file | what it does |
//! |---|---|
//! | `source` | where the bytes of a body come from |
//! | `body_in` | the body of a request, with its limits |
//! | `multipart`, `disposition` | forms; file names in them and in answers |
//! | `windows` | permits: the right to move one body |
//! | `pieces` | what of a body is gathered before it goes to the store |
//! | `upload` | a whole body into the store |
//! | `stored` | a stored object as the source of another one |
//! | `download` | an object out of the store: conditions, range, head |
//! | `body_out` | its body, piece by piece |
//!
//! What heads say:
//!
//! | file | what it does |
//! |---|---|
//! | `conditions`, `range` | `If-*` and `Range` |
//! | `heads` | what is kept with an object, and how far a write went |
//! | `escape` | percent-escapes and query strings |
//! | `media_type` | types that file names suggest |
//!
//! What a node's ports share:
//!
//! | file | what it does |
//! |---|---|
//! | `settings` | the settings of the ports |
//! | `worker` | what the ports and their threads share, and what each thread has |
//! | `call` | one request, as handlers see it |
//! | `links` | what handlers may say to the actors |
//! | `metrics`, `counted` | counters, and everything numeric as Prometheus text; which numbers of others only grow |
//! | `turned_away` | why somebody was not let in, as the metrics count it |
//! | `readiness` | whether the node should get traffic |
//!
//! Invariant: nothing here parses a route, speaks a language but English, or writes a format of answers; but for
//! `refusal`, of which nobody above hears, and `metrics`, which writes the text of Prometheus.

mod accept;
pub(super) mod access;
pub(super) mod body_in;
mod body_out;
pub(super) mod call;
mod classify;
pub(super) mod conditions;
mod connections;
mod counted;
pub(super) mod deed;
pub(super) mod disposition;
pub(super) mod download;
pub(super) mod english;
pub(super) mod errors;
pub(super) mod escape;
mod framing;
pub(super) mod handle;
pub(super) mod heads;
pub(super) mod hosts;
pub(super) mod link;
pub(super) mod links;
pub(super) mod media_type;
pub(super) mod metrics;
pub(super) mod multipart;
mod pieces;
pub(super) mod problem;
pub(super) mod protocol;
pub(super) mod range;
pub(super) mod readiness;
mod refusal;
pub(super) mod request_id;
pub(super) mod server;
pub(super) mod settings;
pub(super) mod signed;
mod socket;
pub(super) mod source;
pub(super) mod stored;
mod trail;
mod turned_away;
mod turnstile;
pub(super) mod upload;
pub(super) mod windows;
pub(super) mod worker;
