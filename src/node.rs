//! Builds a node and owns the order of its start and its end.
//!
//! A node that has reason to doubt its memory (`store::doubt`) ends, gives up its incarnation, and starts again.
//!
//! Start: key ring, ports (a taken one is told before anything is touched), lock, store, listeners,
//! actors, peer listener, HTTP; ready last. End, on SIGTERM or Ctrl-C: readiness off, a grace while
//! endpoints propagate, no new connections and the open requests finish, the lanes drain, the
//! store drains; exit 0. A second signal, or the deadline, ends it at once with exit 1.
//!
//! | file | job |
//! |---|---|
//! | here | a process: its signals, its log, one node or the three of a demo |
//! | `parts` | what a node is made of: storage, peers, and what stands behind its ports |
//! | `running` | one node: what it is made of, and in which order that starts and ends |
//! | `access` | the first access key, and the clock of what is known of keys |
//! | `audit` | the audit log, beside the store, and what the node writes there of itself |
//! | `key_source` | where the key ring comes from: files, a passphrase, a command |
//! | `keys` | the key ring: made at start where that is safe, and read again while the node runs |
//! | `certificate` | what the ports show, looked at while the node runs, and what is said of its age |
//! | `joining` | how a new node is told of its cluster |
//! | `lock` | one process uses a data directory at a time |
//! | `place` | what the directory says of the node, against what the configuration says |
//! | `listener` | the ports: sockets, and the servers behind them |
//! | `queues` | every queue with its bound in bytes |
//! | `findings` `conditions` | decides what is missing or wrong; looks, and tells readiness |
//! | `health` `status` | what peers are told; the snapshot for people and tools |
//! | `leave` `verify` | `boveda leave` and `boveda verify`, on a directory that no node uses |
//! | `error` | why a node did not start or stop as it should |

mod access;
mod audit;
mod certificate;
mod conditions;
mod error;
mod findings;
mod health;
mod joining;
mod key_source;
mod keys;
mod leave;
mod listener;
mod lock;
mod parts;
mod place;
mod queues;
mod running;
mod status;
mod verify;

pub use audit::read_audit;
pub use certificate::files as certificate_files;
pub use error::NodeError;
pub use key_source::{KeySource, KeySourceError};
pub use leave::leave;
pub use running::Running;
pub use verify::verify;

use crate::base::{Exit, log_pipe};
use crate::config::Config;
use crate::disk::handles;
use env_logger::{Target, WriteStyle};
use futures::future::{Either, join_all, select, select_all};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Runs one node until it is told to stop.
pub fn serve(config: Config) -> ExitCode {
    run(vec![config], false)
}

/// Runs several nodes in this process until they are told to stop. The first start makes their key.
pub fn demo(configs: Vec<Config>) -> ExitCode {
    run(configs, true)
}

fn run(configs: Vec<Config>, may_make_cluster_key: bool) -> ExitCode {
    if let Some(config) = configs.first() {
        init_log(&config.node.log);
    }
    handles::raise_limit();
    let least = handles::least(configs.iter().map(|config| config.threads() * config.client_ports()));
    let result = match handles::below(least) {
        Some(limit) => Err(NodeError::OpenFiles { limit, least }),
        None => actix_rt::System::new().block_on(live(configs, may_make_cluster_key)),
    };
    log_pipe::settle();
    match result {
        Ok(End::Stopped) => Exit::Done.into(),
        Ok(End::Again) => {
            eprintln!("boveda: {}", NodeError::Again(again()));
            Exit::Failed.into()
        }
        Err(error) => {
            eprintln!("boveda: {error}");
            Exit::Failed.into()
        }
    }
}

fn init_log(filters: &str) {
    // A second node in a test's process finds the log set up already.
    let filters = format!("{filters},{}", crate::http::LOG_FILTER);
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filters).format_timestamp_millis();
    if let Ok(pipe) = log_pipe::to_stderr() {
        // Colours as for stderr itself, which the builder does not see behind the pipe.
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        builder.target(Target::Pipe(Box::new(pipe)));
        builder.write_style(if colours { WriteStyle::Always } else { WriteStyle::Never });
    }
    let _ = builder.try_init();
}

/// How a process came to its end.
enum End {
    Stopped,
    /// It is to start again: a node of it is in another life.
    Again,
}

/// Runs the same program with the same arguments in the place of this process. It returns only when it could not.
/// A node whose memory is in doubt begins anew with nothing in memory; every thread, socket and file of its former life
/// is gone then.
fn again() -> std::io::Error {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    std::process::Command::new("/proc/self/exe").arg0(name).args(args).exec()
}

async fn live(configs: Vec<Config>, may_make_cluster_key: bool) -> Result<End, NodeError> {
    let mut signals = Signals::listen().map_err(NodeError::Signals)?;
    let nudges = Nudges::default();
    pass_over_others(&nudges).map_err(NodeError::Signals)?;
    survive_long_files();
    let deadline = configs.iter().map(|c| c.http.drain_timeout + c.http.ready_grace).max().unwrap_or_default();
    let mut nodes = Vec::with_capacity(configs.len());
    for config in configs {
        keys::require_data(&config)?;
        let source = KeySource::of(&config)?;
        keys::ensure(&config, &source, may_make_cluster_key)?;
        match select(pin!(Running::start_with(config, source)), pin!(signals.next())).await {
            Either::Left((node, _)) => nodes.push(node?),
            Either::Right((name, _)) => {
                log::info!(signal = name; "stopping: it had not started");
                for stopped in join_all(nodes.into_iter().map(Running::stop)).await {
                    stopped?;
                }
                return Ok(End::Stopped);
            }
        }
        nudges.borrow_mut().extend(nodes.iter().next_back().into_iter().flat_map(Running::nudges));
    }
    let name = {
        let next = match select(pin!(signals.next()), pin!(first_in_doubt(&nodes))).await {
            Either::Left((name, _)) => Err(name),
            Either::Right((at, _)) => Ok(at),
        };
        match next {
            Err(name) => name,
            Ok(at) => {
                let doubting = nodes.remove(at);
                for stopped in join_all(nodes.into_iter().map(Running::stop)).await {
                    stopped?;
                }
                return doubting.give_up().await.map(|()| End::Again);
            }
        }
    };
    log::info!(signal = name; "stopping");
    let stopping = pin!(join_all(nodes.into_iter().map(Running::stop)));
    let hurry = pin!(async {
        match select(pin!(signals.next()), pin!(actix_rt::time::sleep(deadline + STOP_MARGIN))).await {
            Either::Left((name, _)) => NodeError::Hurried(name),
            Either::Right(_) => NodeError::Deadline(deadline + STOP_MARGIN),
        }
    });
    match select(stopping, hurry).await {
        Either::Left((results, _)) => {
            results.into_iter().collect::<Result<(), _>>()?;
            log::info!("stopped: everything is durable");
            Ok(End::Stopped)
        }
        Either::Right((error, _)) => Err(error),
    }
}

/// Which node is the first to doubt its memory.
async fn first_in_doubt(nodes: &[Running]) -> usize {
    select_all(nodes.iter().map(|node| Box::pin(node.doubted()))).await.1
}

/// Listens for the signal of a write beyond the longest file that this process may make: nobody minds it, and the write
/// fails with an error instead of ending the process.
fn survive_long_files() {
    if let Err(error) = signal(SignalKind::from_raw(crate::disk::shortage::file_len_signal())) {
        log::warn!(error:% = error; "a file beyond the file size limit (ulimit -f) will end this process");
    }
}

/// What the last steps of a stop may take beyond the drain of the requests.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// What makes each node of this process read its key directory and its certificate again.
type Nudges = Rc<RefCell<Vec<Arc<Notify>>>>;

/// Signals that tools send to servers for other ends, as log rotation does, and that would end the process by default.
/// SIGHUP has the key directories and the certificates read again, besides.
fn pass_over_others(nudges: &Nudges) -> std::io::Result<()> {
    let (mut arrivals, nudges) = (signal(SignalKind::hangup())?, Rc::clone(nudges));
    actix_rt::spawn(async move {
        while arrivals.recv().await.is_some() {
            log::info!(signal = "SIGHUP"; "the key ring and the certificate are read again; the log goes to stderr");
            nudges.borrow().iter().for_each(|nudge| nudge.notify_one());
        }
    });
    let kinds = [("SIGUSR1", SignalKind::user_defined1()), ("SIGUSR2", SignalKind::user_defined2())];
    for (name, kind) in kinds {
        let mut arrivals = signal(kind)?;
        actix_rt::spawn(async move {
            while arrivals.recv().await.is_some() {
                log::info!(signal = name; "passed over: the log goes to stderr, and there is nothing to read again");
            }
        });
    }
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        match select(pin!(self.terminate.recv()), pin!(self.interrupt.recv())).await {
            Either::Left(_) => "SIGTERM",
            Either::Right(_) => "SIGINT",
        }
    }
}
