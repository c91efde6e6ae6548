//! A peer for tests of the calling side: the real listener on loopback, a store whose answers a test gives, and a
//! relay in between that does harm to what passes.
//!
//! Invariant: nothing here speaks the protocol itself, so that what a test meets is what a node meets.

use super::{identity, node_view, ring};
use crate::actors::peer::node_view::NodeView;
use crate::actors::peer::plan::{LaneHandle, Plan, Tally, Timing};
use crate::actors::peer::sessions::{PeerBytes, PeerGate};
use crate::actors::peer::store::StoreRecipients;
use crate::actors::peer::transfers::Transfers;
use crate::base::NodeName;
use crate::peer_port::serve;
use crate::wire::{CALL_PATH, HELLO_PATH};
use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// After so long a test that waits has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a condition; a deadline ends a test that hangs.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What comes next, within the deadline.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = actix_rt::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// What a node knows of its peer at `url`, which it has yet to meet.
pub fn plan(peer: &str, url: &str, node_view: NodeView, store: StoreRecipients) -> Plan {
    Plan {
        peer: NodeName::parse(peer).unwrap(),
        url: url.to_owned(),
        node_view,
        key: ring(7).peer_keys(),
        store,
        timing: Timing::default(),
        lane: LaneHandle::default(),
        seats: None,
        transfers: Arc::new(Transfers::new(8 << 20)),
        votes_bytes: 8 << 20,
        tally: Tally::default(),
    }
}

/// A running peer listener.
pub struct Listener {
    pub address: SocketAddr,
    pub gate: Arc<PeerGate>,
    server: ServerHandle,
}

impl Listener {
    /// The listener of node `name` in that life, for its peer n1; at `address` if there was one before.
    pub fn start(
        name: &str,
        incarnation: u64,
        address: Option<SocketAddr>,
        store: impl Fn() -> StoreRecipients + Send + Clone + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let (node_view, key) = (node_view(identity(name, incarnation)), ring(7).peer_keys());
        let peers = [NodeName::parse("n1").unwrap()];
        let gate = Arc::new(PeerGate::new(node_view, key, peers, PeerBytes::default()));
        let server = serve(listener, Arc::clone(&gate), store, 1).unwrap();
        let handle = server.handle();
        actix_rt::spawn(server);
        Listener { address, gate, server: handle }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Handshakes that it answered.
    pub fn hellos(&self) -> u64 {
        self.gate.status().received.hellos
    }

    /// Ends it without a goodbye; the next one at this address knows none of its sessions.
    pub async fn stop(self) -> SocketAddr {
        self.server.stop(false).await;
        // Its worker serves the sockets that it has until its thread is told.
        until("its worker ended", || async { Arc::strong_count(&self.gate) == 1 }).await;
        self.address
    }
}

/// A question to a store, which waits for the test's answer.
pub struct Asked<M: Message> {
    pub what: M,
    pub answer: oneshot::Sender<M::Result>,
}

/// A store's place for one kind of message: what is asked goes to the test.
struct Passer<M: Message>(mpsc::UnboundedSender<Asked<M>>);

impl<M: Message + 'static> Actor for Passer<M> {
    type Context = Context<Self>;
}

impl<M, R> Handler<M> for Passer<M>
where
    M: Message<Result = R> + Send + 'static,
    R: Send + 'static,
{
    type Result = ResponseFuture<R>;

    fn handle(&mut self, what: M, _: &mut Context<Self>) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        // What nobody takes any more is dropped here, and whoever waits for an answer in it hears that.
        let is_taken = self.0.send(Asked { what, answer }).is_ok();
        Box::pin(async move {
            match answered.await {
                Ok(answer) if is_taken => answer,
                // A test that has dropped the question does not answer it.
                _ => std::future::pending().await,
            }
        })
    }
}

/// Where questions of a kind arrive, and what makes recipients that lead there, on whichever thread.
pub fn passed_on<M, R>() -> (mpsc::UnboundedReceiver<Asked<M>>, impl Fn() -> Recipient<M> + Send + Clone + 'static)
where
    M: Message<Result = R> + Send + 'static,
    R: Send + 'static,
{
    let (ask, asked) = mpsc::unbounded_channel();
    (asked, move || Passer(ask.clone()).start().recipient())
}

/// What a relay does to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    None,
    /// Turns one bit of each call.
    Call(usize),
    /// Turns one bit of the answer to each handshake.
    Welcome(usize),
    /// Turns one bit of the answer to each call.
    Answer(usize),
    /// Cuts the answer to each call off behind so many bytes.
    Cut(usize),
    /// Gives the answer that was given before.
    Before,
}

/// Forwards to a peer listener, keeps the calls that passed, and can do harm.
pub struct Relay {
    pub url: String,
    pub calls: Arc<Mutex<Vec<Vec<u8>>>>,
    harm: Arc<Mutex<Harm>>,
}

/// Sends raw bytes to a path and returns the status and the body.
pub async fn raw(url: &str, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let mut response = awc::Client::default().post(format!("{url}{path}")).send_body(body).await.unwrap();
    (response.status().as_u16(), response.body().limit(1 << 23).await.unwrap().to_vec())
}

fn turn(bytes: &mut [u8], bit: usize) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

impl Relay {
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (calls, harm) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Harm::None)));
        let before = Arc::new(Mutex::new(Vec::new()));
        let (keep, how) = (Arc::clone(&calls), Arc::clone(&harm));
        let server = HttpServer::new(move || {
            let (keep, how, before) = (Arc::clone(&keep), Arc::clone(&how), Arc::clone(&before));
            App::new().app_data(web::PayloadConfig::new(1 << 23)).default_service(web::to(
                move |request: HttpRequest, body: web::Bytes| {
                    let (keep, before, harm) = (Arc::clone(&keep), Arc::clone(&before), *how.lock().unwrap());
                    async move {
                        let (mut body, path) = (body.to_vec(), request.path());
                        if path == CALL_PATH {
                            keep.lock().unwrap().push(body.clone());
                            if let Harm::Call(bit) = harm {
                                turn(&mut body, bit);
                            }
                        }
                        let (status, mut answer) = raw(&format!("http://{target}"), path, body).await;
                        match harm {
                            Harm::Welcome(bit) if path == HELLO_PATH => turn(&mut answer, bit),
                            Harm::Answer(bit) if path == CALL_PATH => turn(&mut answer, bit),
                            Harm::Cut(end) if path == CALL_PATH => answer.truncate(end),
                            Harm::Before if path == CALL_PATH => answer = before.lock().unwrap().clone(),
                            _ if path == CALL_PATH => *before.lock().unwrap() = answer.clone(),
                            _ => {}
                        }
                        HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(answer)
                    }
                },
            ))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        actix_rt::spawn(server);
        Relay { url, calls, harm }
    }

    /// From now on.
    pub fn does(&self, harm: Harm) {
        *self.harm.lock().unwrap() = harm;
    }
}
