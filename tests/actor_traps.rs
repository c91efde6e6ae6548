//! What actix 0.13.5 and actix-web do where one might expect something else, and what our code does
//! because of it. The table of STYLE.md, section 3, in small programs: if an upgrade turns one of them red,
//! read the file named there before anything else.
//!
//! | here | our code |
//! |---|---|
//! | a panic under a `Supervisor` is the end | `actors/replication/keeper.rs` holds factories and builds a new value |
//! | the value is dropped while its thread unwinds | `actors/guard.rs`: the guard is a field, its drop tells or aborts |
//! | messages that are queued or sent to the dead are dropped | `actors/replication/lease.rs`: the drop of a lease is the message |
//! | `stop()` under a `Supervisor`: same value, same queue, no pause | `actors/replication/actor.rs`, `restarting`; `actors/replication/records` keeps the pause itself |
//! | futures of the context are lost in a restart, answers in flight are not | `actors/replication/actor.rs`: `spawn` for what belongs to one life |
//! | a panic in a `ResponseFuture` passes the actor by | `actors/store_actor`, `guarded`; `actors/store_actor/threads.rs` has its own hook |
//! | mailboxes bound nothing | `base/budget.rs`: permits; `actors/peer/sessions.rs`: requests and bytes of each peer |
//! | a dropped request skips what has not begun, and only that | `actors/messages`: a commit is one message; handles end by drop |
//! | `timeout` ends the wait, not the work | `actors/replication`: `OBSERVE_MAX`, the last snapshot with its age |
//! | the mailbox is emptied before timers | `actors/replication/records`: `pump` looks at the clock after every event |
//! | timers keep alive what nobody can reach | `actors/replication/records`: `pump` ends an actor without senders |
//! | weak recipients hold nobody | `actors/replication/keeper.rs`: lanes know their keeper weakly |
//! | a panic in a web handler costs its connection, no more | `http/edge/handle.rs`: nothing of a request outlives its handler |
//!
//! Nothing here sleeps. On one arbiter, what is sent without an await in between is queued together.

mod common;

use actix::prelude::*;
use actix_web::{App, HttpServer, web};
use boveda::actors::guard::{Died, PanicGuard};
use common::Conn;
use futures::future::join_all;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: &str) {
        let how = if std::thread::panicking() { " unwinding" } else { "" };
        self.0.lock().expect("no panic holds it").push(format!("{what}{how}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic holds it"))
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().expect("no panic holds it").iter().filter(|entry| *entry == what).count()
    }
}

/// Whatever hangs fails.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    actix_rt::time::timeout(common::DEADLINE, work).await.expect("in time")
}

/// Says when it is dropped.
struct Dropped(Log, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// The actor that everything is tried on.
struct Subject {
    log: Log,
    value: u32,
    stops_in_started: u32,
    _guard: Option<PanicGuard>,
    /// Its other end hears when this value is gone.
    _held: Option<oneshot::Sender<()>>,
    _dropped: Dropped,
}

impl Subject {
    fn new(log: &Log) -> Self {
        let dropped = Dropped(log.clone(), "dropped");
        Subject { log: log.clone(), value: 0, stops_in_started: 0, _guard: None, _held: None, _dropped: dropped }
    }
}

impl Actor for Subject {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.log.add("started");
        if self.stops_in_started > 0 {
            self.stops_in_started -= 1;
            ctx.stop();
        }
    }

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        self.log.add("stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.log.add("stopped");
    }
}

impl Supervised for Subject {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.log.add("restarting");
    }
}

type Work = Box<dyn FnOnce(&mut Subject, &mut Context<Subject>) + Send>;

/// Does something in the handler, and answers with the subject's value.
#[derive(Message)]
#[rtype(result = "u32")]
struct Do(Work);

fn act(work: impl FnOnce(&mut Subject, &mut Context<Subject>) + Send + 'static) -> Do {
    Do(Box::new(work))
}

fn read() -> Do {
    act(|_, _| {})
}

impl Handler<Do> for Subject {
    type Result = u32;
    fn handle(&mut self, Do(work): Do, ctx: &mut Context<Self>) -> u32 {
        work(self, ctx);
        self.value
    }
}

/// Answers when it is told to, beside the actor; `done` hears of it as well.
#[derive(Message)]
#[rtype(result = "()")]
struct Beside {
    go: oneshot::Receiver<()>,
    done: Option<oneshot::Sender<()>>,
    then: fn(),
}

impl Beside {
    fn new() -> (Self, oneshot::Sender<()>) {
        let (go, told) = oneshot::channel();
        (Beside { go: told, done: None, then: || {} }, go)
    }
}

impl Handler<Beside> for Subject {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, Beside { go, done, then }: Beside, _: &mut Context<Self>) -> Self::Result {
        self.log.add("begun");
        Box::pin(async move {
            go.await.expect("the test says go");
            then();
            if let Some(done) = done {
                done.send(()).expect("the test listens");
            }
        })
    }
}

/// The same as a future of the actor's context.
#[derive(Message)]
#[rtype(result = "()")]
struct Within {
    go: oneshot::Receiver<()>,
    then: fn(),
}

impl Handler<Within> for Subject {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, Within { go, then }: Within, _: &mut Context<Self>) -> Self::Result {
        let work = async move {
            go.await.expect("the test says go");
            then();
        };
        Box::pin(work.into_actor(self))
    }
}

#[actix::test]
async fn a_panic_under_a_supervisor_is_the_end() {
    let log = Log::default();
    let neighbour = Subject::new(&Log::default()).start();
    for in_handler in [true, false] {
        let subject = Subject::new(&log);
        let address = Supervisor::start(|_| subject);
        if in_handler {
            let panicking = address.send(act(|_, _| panic!("on purpose")));
            let queued = Dropped(log.clone(), "queued message dropped");
            let queued = address.send(act(move |_, _| drop(queued)));
            assert_eq!(panicking.await, Err(MailboxError::Closed));
            assert_eq!(queued.await, Err(MailboxError::Closed), "what was queued is answered so");
            assert_eq!(log.count("queued message dropped unwinding"), 1, "dropped, not handled");
        } else {
            let (go, told) = oneshot::channel();
            go.send(()).expect("it waits");
            let panicking = address.send(Within { go: told, then: || panic!("on purpose") });
            assert_eq!(panicking.await, Err(MailboxError::Closed));
        }
        let events: Vec<String> = log.take().into_iter().filter(|e| !e.starts_with("queued")).collect();
        // Polled once more while it unwinds: a panic in `stopping` or `stopped` would be the second one.
        assert_eq!(events, ["started", "stopping unwinding", "stopped unwinding", "dropped unwinding"]);

        assert!(!address.connected());
        assert!(!address.clone().recipient::<Do>().connected());
        let late = Dropped(log.clone(), "late message dropped");
        address.do_send(act(move |_, _| drop(late)));
        assert_eq!(log.take(), ["late message dropped"], "at once, so that a lease comes home");
        assert!(matches!(address.try_send(read()), Err(SendError::Closed(_))));
        assert_eq!(address.send(read()).await, Err(MailboxError::Closed));
        assert_eq!(neighbour.send(read()).await, Ok(0), "the arbiter and its other actors live on");
    }
}

/// Forwards what a keeper would hear.
struct Recorder(mpsc::UnboundedSender<Died>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<Died> for Recorder {
    type Result = ();
    fn handle(&mut self, died: Died, _: &mut Context<Self>) {
        self.0.send(died).expect("the test listens");
    }
}

#[actix::test]
async fn a_guard_in_the_actor_tells_of_its_panic_and_of_nothing_else() {
    let (heard, mut deaths) = mpsc::unbounded_channel();
    let keeper = Recorder(heard).start();
    let guarded = |lane| {
        let died = Died { lane, life: 9 };
        let guard = PanicGuard::tell(keeper.downgrade().recipient(), died);
        let mut subject = Subject::new(&Log::default());
        subject._guard = Some(guard);
        (Supervisor::start(|_| subject), died)
    };
    let (restarts, _) = guarded(1);
    assert_eq!(restarts.send(act(|_, ctx| ctx.stop())).await, Ok(0));
    assert_eq!(restarts.send(read()).await, Ok(0));
    drop(restarts);
    let (in_handler, first) = guarded(2);
    in_handler.do_send(act(|_, _| panic!("on purpose")));
    assert_eq!(soon(deaths.recv()).await, Some(first));
    let (in_future, second) = guarded(3);
    let (go, told) = oneshot::channel();
    in_future.do_send(Within { go: told, then: || panic!("on purpose") });
    go.send(()).expect("it waits");
    assert_eq!(soon(deaths.recv()).await, Some(second));

    // Guards know their keeper weakly: it ends with its last address, and a later death is told to nobody.
    let (orphan, _) = guarded(4);
    drop(keeper);
    assert_eq!(soon(deaths.recv()).await, None, "the keeper ended");
    assert_eq!(orphan.send(act(|_, _| panic!("on purpose"))).await, Err(MailboxError::Closed));
}

const ABORT_CASE: &str = "BOVEDA_TRAP_CASE";

/// Runs itself again with a case that may abort the process.
#[test]
fn an_aborting_guard_sees_only_the_panics_of_where_it_is() {
    const NAME: &str = "an_aborting_guard_sees_only_the_panics_of_where_it_is";
    if let Ok(case) = std::env::var(ABORT_CASE) {
        return System::new().block_on(abort_case(&case));
    }
    let run = |case: &str| {
        let me = std::env::current_exe().expect("the test knows its file");
        let output = std::process::Command::new(me).args(["--exact", NAME]).env(ABORT_CASE, case).output();
        output.expect("it runs itself").status
    };
    for (case, signal) in [
        ("none", None),
        ("handler", Some(6)),
        ("future of the context", Some(6)),
        // The reason for `guarded` in the StoreActor: a field of the actor is not enough.
        ("response future", None),
        ("response future with its own guard", Some(6)),
    ] {
        let status = run(case);
        assert_eq!(status.signal(), signal, "{case}: {status}");
        assert!(signal.is_some() || status.success(), "{case}: {status}");
    }
}

async fn abort_case(case: &str) {
    let mut subject = Subject::new(&Log::default());
    subject._guard = Some(PanicGuard::abort());
    let address = subject.start();
    let (beside, go) = Beside::new();
    let (go_within, told) = oneshot::channel();
    let then: fn() = || panic!("on purpose");
    let own_guard: fn() = || {
        let _guard = PanicGuard::abort();
        panic!("on purpose")
    };
    go.send(()).expect("it waits");
    go_within.send(()).expect("it waits");
    match case {
        "none" => assert_eq!(address.send(read()).await, Ok(0)),
        "handler" => drop(address.send(act(move |_, _| then())).await),
        "future of the context" => drop(address.send(Within { go: told, then }).await),
        "response future" => {
            assert_eq!(address.send(Beside { then, ..beside }).await, Err(MailboxError::Closed));
            assert_eq!(address.send(read()).await, Ok(0), "and the actor knows nothing of it");
        }
        "response future with its own guard" => drop(address.send(Beside { then: own_guard, ..beside }).await),
        other => panic!("no case {other}"),
    }
}

#[actix::test]
async fn stop_under_a_supervisor_keeps_the_value_and_the_queue_and_loses_the_context() {
    let log = Log::default();
    let subject = Subject::new(&log);
    let address = Supervisor::start(|_| subject);
    let (beside, go_beside) = Beside::new();
    let (_go_within, told) = oneshot::channel();
    let completes = address.send(beside);
    let lost = address.send(Within { go: told, then: || {} });
    let spawned = Dropped(log.clone(), "spawned future dropped");
    let stopped = address.send(act(move |subject, ctx| {
        subject.value = 7;
        let never = async move {
            futures::future::pending::<()>().await;
            drop(spawned);
        };
        ctx.spawn(never.into_actor(subject));
        ctx.run_later(Duration::ZERO, |subject, _| subject.log.add("timer"));
        ctx.stop();
    }));
    let queued = address.send(read());
    assert_eq!(stopped.await, Ok(7));
    assert_eq!(queued.await, Ok(7), "the queued message survives, and meets the same value");
    assert_eq!(lost.await, Err(MailboxError::Closed));
    go_beside.send(()).expect("the answer in flight still waits");
    assert_eq!(completes.await, Ok(()));
    assert_eq!(address.send(read()).await, Ok(7));
    let events = log.take();
    let expected = ["started", "begun", "stopping", "stopped", "spawned future dropped", "restarting", "started"];
    assert_eq!(events, expected, "and the timer is lost too");
}

#[actix::test]
async fn a_supervisor_makes_no_pause() {
    const STOPS: u32 = 1_000;
    let log = Log::default();
    let other = log.clone();
    let mut subject = Subject::new(&log);
    subject.stops_in_started = STOPS;
    let address = Supervisor::start(|_| subject);
    actix_rt::spawn(async move { other.add("somebody else's turn") });
    assert_eq!(address.send(read()).await, Ok(0));
    let events = log.take();
    let restarts = |events: &[String]| events.iter().filter(|e| *e == "restarting").count();
    assert_eq!(restarts(&events), STOPS as usize);
    let turn = events.iter().position(|e| e == "somebody else's turn").unwrap_or(events.len());
    assert_eq!(restarts(&events[..turn]), STOPS as usize, "without letting go of the arbiter");
}

#[actix::test]
async fn a_panic_in_a_response_future_passes_the_actor_by() {
    let log = Log::default();
    let address = Subject::new(&log).start();
    let (beside, go) = Beside::new();
    go.send(()).expect("it waits");
    assert_eq!(address.send(Beside { then: || panic!("on purpose"), ..beside }).await, Err(MailboxError::Closed));
    assert_eq!(address.send(act(|subject, _| subject.value = 1)).await, Ok(1));
    assert_eq!(log.take(), ["started", "begun"]);
}

#[actix::test]
async fn a_full_mailbox_refuses_try_send_and_nobody_else() {
    const MORE: u32 = 1_000;
    let log = Log::default();
    let in_context = log.clone();
    let address = Subject::create(move |ctx| {
        ctx.set_mailbox_capacity(1);
        Subject::new(&in_context)
    });
    let one_more = || act(|subject, _| subject.value += 1);
    let mut accepted = 0;
    while address.try_send(one_more()).is_ok() {
        accepted += 1;
        assert!(accepted < 100, "a capacity of 1 means something to try_send");
    }
    assert!(matches!(address.try_send(read()), Err(SendError::Full(_))));
    // What does not fit is not in the queue yet: whoever does not look gets in before it.
    let waiting = address.send(act(|subject, _| subject.log.add("sent")));
    address.do_send(act(|subject, _| subject.log.add("not looked")));
    let sent: Vec<_> = (0..MORE).map(|_| address.send(one_more())).collect();
    (0..MORE).for_each(|_| address.do_send(one_more()));
    assert!(waiting.await.is_ok());
    assert!(join_all(sent).await.iter().all(Result::is_ok));
    assert_eq!(address.send(read()).await, Ok(accepted + 2 * MORE), "every one got in");
    assert_eq!(log.take(), ["started", "not looked", "sent"]);
}

#[actix::test]
async fn a_dropped_request_skips_its_message_and_not_the_work_that_began() {
    let log = Log::default();
    let address = Subject::new(&log).start();
    let recipient = address.clone().recipient::<Do>();
    drop(address.send(act(|subject, _| subject.value += 1)));
    drop(recipient.send(act(|subject, _| subject.value += 10)));
    address.do_send(act(|subject, _| subject.value += 100));
    assert_eq!(address.send(read()).await, Ok(100), "only what nobody waits for by intent was done");

    let (beside, go) = Beside::new();
    let (done, finished) = oneshot::channel();
    let request = address.send(Beside { done: Some(done), ..beside });
    assert_eq!(address.send(read()).await, Ok(100));
    assert_eq!(log.count("begun"), 1);
    drop(request);
    go.send(()).expect("the work waits");
    assert_eq!(soon(finished).await, Ok(()), "begun work runs on");
}

#[actix::test]
async fn a_timeout_ends_the_wait_and_not_the_work() {
    let address = Subject::new(&Log::default()).start();
    let (beside, go) = Beside::new();
    let (done, finished) = oneshot::channel();
    let request = address.send(Beside { done: Some(done), ..beside }).timeout(Duration::from_millis(1));
    assert_eq!(request.await, Err(MailboxError::Timeout));
    assert_eq!(address.send(read()).timeout(common::DEADLINE).await, Ok(0), "the next one is answered");
    go.send(()).expect("the work waits");
    assert_eq!(soon(finished).await, Ok(()));
}

/// Sends itself another message until the time is over.
fn busy_until(end: Instant) -> Do {
    act(move |subject, ctx| {
        if Instant::now() < end {
            ctx.address().do_send(busy_until(end));
        } else {
            subject.log.add("mailbox empty");
        }
    })
}

#[actix::test]
async fn a_busy_mailbox_holds_timers_up() {
    let log = Log::default();
    let address = Subject::new(&log).start();
    let (fired, timer) = oneshot::channel();
    address.do_send(act(move |_, ctx| {
        ctx.run_later(Duration::from_millis(1), move |subject, _| {
            subject.log.add("timer");
            fired.send(()).expect("the test waits");
        });
    }));
    address.do_send(busy_until(Instant::now() + Duration::from_millis(20)));
    assert_eq!(soon(timer).await, Ok(()));
    assert_eq!(log.take(), ["started", "mailbox empty", "timer"]);
}

#[actix::test]
async fn an_actor_ends_with_its_last_address_unless_timers_keep_it() {
    let alive = |log: &Log| {
        let (held, gone) = oneshot::channel::<()>();
        let mut subject = Subject::new(log);
        subject._held = Some(held);
        (Supervisor::start(|_| subject), gone)
    };
    let log = Log::default();
    let (address, gone) = alive(&log);
    let weak = address.downgrade().recipient::<Do>();
    assert_eq!(weak.upgrade().expect("it has an address").send(read()).await, Ok(0));
    drop(address);
    assert!(soon(gone).await.is_err(), "its value was dropped");
    assert!(weak.upgrade().is_none(), "a weak recipient holds nobody");
    assert_eq!(log.take(), ["started", "stopping", "stopped", "dropped"]);

    let (address, gone) = alive(&log);
    let (tick, mut ticks) = mpsc::unbounded_channel();
    address.do_send(act(move |_, ctx| {
        ctx.run_interval(Duration::from_millis(1), move |_, ctx| {
            let unreachable = !ctx.connected();
            // Not at once: the ticks in between show that it would go on for ever.
            if tick.send(unreachable).is_err() {
                ctx.terminate();
            }
        });
    }));
    assert_eq!(address.send(read()).await, Ok(0));
    drop(address);
    let mut unreachable = 0;
    while unreachable < 5 {
        unreachable += u32::from(soon(ticks.recv()).await.expect("it lives on"));
    }
    drop(ticks);
    assert!(soon(gone).await.is_err());
    assert_eq!(log.take(), ["started", "stopped", "dropped"], "terminated, and not restarted");
}

#[test]
fn a_panic_in_a_web_handler_costs_its_connection_and_no_more() {
    let (serving, served) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("it is bound");
            let app = || {
                App::new()
                    .route("/fine", web::get().to(|| async { "fine" }))
                    .route("/panic", web::get().to(|| async { if true { panic!("on purpose") } else { "" } }))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("it listens").run();
            serving.send((address, server.handle())).expect("the test waits");
            server.await.expect("it serves");
        });
    });
    let (address, handle) = served.recv().expect("it serves");
    let mut bystander = Conn::open(address).expect("it takes connections");
    for _ in 0..3 {
        assert_eq!(bystander.ask("GET", "/fine", &[], b"").expect("an answer").text(), "fine");
        let mut victim = Conn::open(address).expect("the worker lives on");
        assert_eq!(victim.ask("GET", "/fine", &[], b"").expect("an answer").status, 200);
        assert!(victim.ask("GET", "/panic", &[], b"").is_err(), "closed without an answer");
    }
    assert_eq!(bystander.ask("GET", "/fine", &[], b"").expect("its connection is still open").status, 200);
    // The command is sent by the call; the thread's end shows that it was obeyed.
    drop(handle.stop(false));
    drop(bystander);
    server.join().expect("the server's thread did not panic");
}
