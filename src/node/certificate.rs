//! What the ports show of themselves: looked at while the node runs, and what is said of its age.
//!
//! Invariants
//! - Another pair takes its place without a restart; one that cannot be used is a warning and a finding, and changes
//!   nothing.
//! - A certificate that ends soon, or has ended, is a finding for as long as it is shown, and a warning when that
//!   begins. It takes the node out of no Service: clients decide what they believe.

use super::error::NodeError;
use super::findings::Finding;
use crate::actors::status::CertificateStatus;
use crate::actors::store_actor::threads::Threads;
use crate::config::Config;
use crate::http::Readiness;
use crate::tls::{Files, Kept, Looked, NotAfter, Server};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// How often the files are looked at. Kubernetes takes a minute or two to bring a new Secret.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// From here on the end of a certificate is soon: those who renew by themselves do so a month before it, or earlier.
const SOON_S: i64 = 30 * 24 * 3600;

/// Where the certificate of the ports and its key are; none where there is no TLS.
pub fn files(config: &Config) -> Option<Files> {
    config.tls.is_on().then(|| Files { cert: config.tls.cert.clone(), key: config.tls.key.clone() })
}

/// The certificate of a node that runs. It is looked at no more when this is dropped.
pub(super) struct Certificate {
    server: Server,
    watched: Arc<Watched>,
}

/// What is looked at.
struct Watched {
    kept: Arc<Kept>,
    nudge: Arc<Notify>,
    told: Mutex<Told>,
}

/// What was found last. Locked during a look.
#[derive(Debug, Default)]
struct Told {
    /// Why the pair in the files is not the one that is shown.
    refused: Option<String>,
    age: Age,
}

/// How long a certificate still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Age {
    #[default]
    Fine,
    EndsSoon,
    Ended,
}

impl Certificate {
    /// Reads certificate and key, if there is to be TLS.
    pub fn load(config: &Config) -> Result<Option<Self>, NodeError> {
        let Some(files) = files(config) else { return Ok(None) };
        let kept = Kept::load(files)?;
        let server = Server::new(&kept, config.tls.handshake_timeout)?;
        let watched = Watched { kept, nudge: Arc::default(), told: Mutex::default() };
        Ok(Some(Certificate { server, watched: Arc::new(watched) }))
    }

    /// What a port needs.
    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// The pair that is shown.
    pub fn shown(&self) -> Arc<Kept> {
        Arc::clone(&self.watched.kept)
    }

    /// Has the files looked at when it is notified.
    pub fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.watched.nudge)
    }

    /// Looks at the files from now on, on these threads, and tells readiness what it finds.
    pub fn watch(&self, readiness: &Readiness, threads: Threads) {
        self.watched.tell(readiness);
        let (watched, readiness) = (Arc::downgrade(&self.watched), readiness.clone());
        let nudge = self.nudge();
        actix_rt::spawn(async move {
            loop {
                let nudged = actix_rt::time::timeout(LOOK_EVERY, nudge.notified()).await.is_ok();
                let Some(watched) = watched.upgrade() else { return };
                let readiness = readiness.clone();
                if threads.run(move || watched.look(&readiness, nudged)).await.is_none() {
                    return;
                }
            }
        });
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // Who waits for the next look finds nothing left to look at.
        self.watched.nudge.notify_one();
    }
}

impl Watched {
    fn look(&self, readiness: &Readiness, at_once: bool) {
        let looked = self.kept.look(at_once);
        let files = self.kept.files();
        match looked {
            Looked::Same => {}
            Looked::Taken(expires) => {
                log::info!(file:% = files.cert.display(), expires:%; "another certificate is shown from now on");
                *self.told() = Told::default();
            }
            Looked::Refused(why) => {
                log::warn!(why:%; "certificate and key are not taken: those before are shown on");
                self.told().refused = Some(self.by_file_names(&why.to_string()));
            }
        }
        self.tell(readiness);
    }

    /// The same without directories: `/readyz` is read by everybody.
    fn by_file_names(&self, why: &str) -> String {
        let files = self.kept.files();
        [&files.cert, &files.key].into_iter().fold(why.to_owned(), |text, path| match path.file_name() {
            Some(name) => text.replace(&path.display().to_string(), &name.to_string_lossy()),
            None => text,
        })
    }

    /// What is to be said now, in the log when it begins, and for those who ask.
    fn tell(&self, readiness: &Readiness) {
        let (not_after, now) = (self.kept.not_after(), now_s());
        let mut told = self.told();
        let age = age(not_after, now);
        if age != told.age && age != Age::Fine {
            log::warn!(file:% = self.kept.files().cert.display(), expires:% = not_after; "{}", words(age, not_after, now));
        }
        told.age = age;
        match finding(told.refused.as_deref(), not_after, now) {
            Finding::Fine => readiness.present(NAME),
            Finding::Degraded(why) => readiness.degraded(NAME, why),
            Finding::Missing(why) => readiness.missing(NAME, why),
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the condition.
const NAME: &str = "certificate";

/// What is wrong with a certificate that ends then, beside which a newer pair may have been refused.
fn finding(refused: Option<&str>, not_after: NotAfter, now: i64) -> Finding {
    let age = age(not_after, now);
    let aged = (age != Age::Fine).then(|| words(age, not_after, now));
    let refused = refused.map(|why| format!("the pair in the files is not the one that is shown: {why}"));
    match (refused, aged) {
        (None, None) => Finding::Fine,
        (Some(one), Some(other)) => Finding::Degraded(format!("{one}; {other}")),
        (Some(why), None) | (None, Some(why)) => Finding::Degraded(why),
    }
}

fn age(not_after: NotAfter, now: i64) -> Age {
    match not_after.unix_s() - now {
        ..0 => Age::Ended,
        0..SOON_S => Age::EndsSoon,
        _ => Age::Fine,
    }
}

fn words(age: Age, not_after: NotAfter, now: i64) -> String {
    let days = (not_after.unix_s() - now) / (24 * 3600);
    match age {
        Age::Fine => String::new(),
        Age::EndsSoon => {
            format!("the certificate of the ports ends in {days} days, on {not_after}: put a new one in its files")
        }
        Age::Ended => format!(
            "the certificate of the ports has ended on {not_after}, and clients refuse it: put a new one in its files"
        ),
    }
}

/// What a node shows of its certificate.
pub(super) fn status(kept: &Kept) -> CertificateStatus {
    let not_after = kept.not_after();
    CertificateStatus { not_after: not_after.to_string(), expires_in_s: not_after.unix_s() - now_s() }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
