//! The scrubber: carries out what `scrub` decides. It reads by messages to the store, and has the healer mend.
//!
//! Invariants
//! - One piece is under way at a time, so that requests wait for one piece of reading at most.
//! - When `StopScrub` is answered the place is kept, and nothing is read any more but the piece under way.
//! - When `PauseScrub` is answered it holds, and the disk says so.

use crate::actors::background::scrub::{Next, Now, Pace, Scrub};
use crate::actors::guard::PanicGuard;
use crate::actors::messages::{
    Heal, Healed, LoadScrubPlace, Part, PauseScrub, Place, Round, SaveScrubPlace, Scrutinize,
};
use crate::actors::status::{ScrubState, ScrubStatus};
use crate::actors::store_actor::StoreActor;
use crate::store::StoreError;
use crate::store::system_ms;
use actix::fut::wrap_future;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// How the scrubber is, for those on other threads.
#[derive(Default)]
pub struct ScrubTally(Mutex<ScrubStatus>);

impl ScrubTally {
    /// How it is; `registers` is how many there are.
    pub fn read(&self, registers: u64) -> ScrubStatus {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if status.started_ms.is_some() && status.position < 1.0 {
            let permille = status.registers.saturating_mul(1_000) / registers.max(status.registers).max(1);
            status.position = u16::try_from(permille).map_or(1.0, |permille| f64::from(permille) / 1_000.0);
        }
        if let Some(last) = &mut status.last {
            last.age_s = system_ms().saturating_sub(last.ended_ms) / 1_000;
        }
        status
    }

    fn show(&self, status: ScrubStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Ends the scrubbing; answered when its place is kept.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopScrub;

struct Own {
    read: Recipient<Scrutinize>,
    load: Recipient<LoadScrubPlace>,
    save: Recipient<SaveScrubPlace>,
    heal: Recipient<Heal>,
    tally: Arc<ScrubTally>,
    pace: Pace,
    /// None until the place was loaded.
    scrub: RefCell<Option<Scrub>>,
    /// Told to stop, perhaps before the place was loaded.
    stopped: Cell<bool>,
    /// Held while the place is being kept.
    saving: tokio::sync::Mutex<()>,
    /// The place was loaded.
    loaded: Notify,
    /// What the run waits for may be over.
    wake: Notify,
}

/// Reads everything again and again.
pub struct Scrubber {
    own: Rc<Own>,
    _guard: PanicGuard,
}

impl Scrubber {
    /// A scrubber that goes on where the last one was. Runs on the arbiter that it will live on.
    pub fn new(pace: Pace, store: &Addr<StoreActor>, heal: Recipient<Heal>, tally: Arc<ScrubTally>) -> Self {
        let own = Own {
            read: store.clone().recipient(),
            load: store.clone().recipient(),
            save: store.clone().recipient(),
            heal,
            tally,
            pace,
            scrub: RefCell::new(None),
            stopped: Cell::new(false),
            saving: tokio::sync::Mutex::default(),
            loaded: Notify::new(),
            wake: Notify::new(),
        };
        // Nobody would build another, and damage would be met by readers alone.
        Scrubber { own: Rc::new(own), _guard: PanicGuard::abort() }
    }
}

impl Actor for Scrubber {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let own = Rc::clone(&self.own);
        ctx.spawn(wrap_future(async move {
            let _guard = PanicGuard::abort();
            own.run().await;
        }));
    }
}

impl Handler<StopScrub> for Scrubber {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: StopScrub, _: &mut Context<Self>) -> Self::Result {
        let own = Rc::clone(&self.own);
        Box::pin(async move {
            let _guard = PanicGuard::abort();
            own.stopped.set(true);
            own.decide(Scrub::stop);
            own.keep().await;
        })
    }
}

impl Handler<PauseScrub> for Scrubber {
    type Result = ResponseFuture<bool>;
    fn handle(&mut self, PauseScrub { paused }: PauseScrub, _: &mut Context<Self>) -> Self::Result {
        let own = Rc::clone(&self.own);
        Box::pin(async move {
            let _guard = PanicGuard::abort();
            own.pause(paused).await
        })
    }
}

fn now() -> Now {
    Now { at: Instant::now(), ms: system_ms() }
}

impl Own {
    async fn run(&self) {
        let place = self.load().await;
        *self.scrub.borrow_mut() = Some(Scrub::new(self.pace, place, now()));
        self.loaded.notify_waiters();
        // It was told to stop while the place was being loaded, and nobody says so again.
        if self.stopped.get() {
            self.decide(Scrub::stop);
        }
        let mut open: Option<(Part, Round)> = None;
        loop {
            self.keep().await;
            match self.decide(|scrub| scrub.next(now())) {
                // Which of the two ended it does not matter: it is decided anew.
                Some(Next::Wait(pause)) => drop(actix_rt::time::timeout(pause, self.wake.notified()).await),
                Some(Next::Read(part)) => self.read(part, &mut open).await,
                Some(Next::Mend(key)) => {
                    let healed = self.heal.send(Heal { key, wanted: None }).await;
                    self.decide(|scrub| scrub.mended(healed == Ok(Healed::Good)));
                }
                Some(Next::End) | None => return,
            }
        }
    }

    async fn pause(&self, paused: bool) -> bool {
        while self.scrub.borrow().is_none() {
            self.loaded.notified().await;
        }
        let before = self.decide(|scrub| scrub.status().state);
        self.decide(|scrub| scrub.pause(paused));
        if self.decide(|scrub| scrub.status().state) != before {
            log::info!(paused; "scrubbing was paused, or goes on, because an operator says so");
        }
        self.wake.notify_one();
        self.keep().await;
        self.decide(|scrub| scrub.is_pause_kept()) == Some(true)
    }

    /// Reads a piece; by the open round, when that is over this part.
    async fn read(&self, part: Part, open: &mut Option<(Part, Round)>) {
        let round = open.take().filter(|(of, _)| *of == part).map(|(_, round)| round);
        let read = self.read.send(Scrutinize { part: part.clone(), round }).await;
        let (round, seen) = match read.unwrap_or(Err(StoreError::ShuttingDown)) {
            Ok(read) => read,
            Err(error) => {
                if !matches!(error, StoreError::Poisoned | StoreError::ShuttingDown) && !self.is_waiting() {
                    log::error!(error:% = error; "scrubbing stands still");
                }
                self.decide(|scrub| scrub.hindered(now(), error.to_string()));
                return;
            }
        };
        let next = match part {
            Part::Behind(_) => Part::Behind(seen.after.clone()),
            Part::Only(key) => Part::Only(key),
        };
        // One that has ended shows nothing more: where there was nothing to read, the next run begins in the same
        // place.
        *open = (!seen.done).then_some((next, round));
        let ended = seen.done;
        self.decide(|scrub| scrub.seen(now(), seen));
        let status = self.decide(|scrub| scrub.status()).filter(|status| status.state == ScrubState::Resting);
        if let Some(last) = status.and_then(|status| status.last).filter(|_| ended) {
            let (objects, bytes, damaged, repaired) = (last.objects, last.bytes, last.damaged, last.repaired);
            log::info!(objects, bytes, damaged, repaired; "everything was read");
        }
    }

    fn is_waiting(&self) -> bool {
        self.decide(|scrub| scrub.status().state) == Some(ScrubState::Waiting)
    }

    /// Asks or tells the one who decides; what that changed is shown.
    fn decide<T>(&self, work: impl FnOnce(&mut Scrub) -> T) -> Option<T> {
        let mut scrub = self.scrub.borrow_mut();
        let scrub = scrub.as_mut()?;
        let answer = work(scrub);
        self.tally.show(scrub.status());
        Some(answer)
    }

    async fn load(&self) -> Place {
        let loaded = self.load.send(LoadScrubPlace).await.unwrap_or(Err(StoreError::ShuttingDown));
        loaded.unwrap_or_else(|error| {
            log::warn!(error:% = error; "scrubbing begins anew");
            Place::default()
        })
    }

    async fn keep(&self) {
        let _one_at_a_time = self.saving.lock().await;
        let Some(Some(place)) = self.decide(|scrub| scrub.to_save(now())) else { return };
        let saved = self.save.send(SaveScrubPlace(place.clone())).await.unwrap_or(Err(StoreError::ShuttingDown));
        match saved {
            Ok(()) => self.decide(|scrub| scrub.saved(&place)),
            Err(error) => {
                if !matches!(error, StoreError::Poisoned) {
                    log::warn!(error:% = error; "how far scrubbing has come is not kept");
                }
                self.decide(|scrub| scrub.not_saved(error.to_string()))
            }
        };
    }
}
