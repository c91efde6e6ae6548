//! A write or a read, whichever a client calls: one kind of machine for the product's `Drive`.

use boveda::register::{Action, Event, Fresh, Intent, Machine, Members, Read, ReadOutcome, Value, Write, WriteOutcome};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Either<R, I> {
    Write(Box<Write<R, I>>),
    Read(Box<Read<R>>),
}

/// How a machine ended.
#[derive(Clone, Debug)]
pub enum End<R> {
    Write(WriteOutcome<R>),
    Read(ReadOutcome<R>),
}

/// What `step` wants done, with the end of either.
fn tell<R, T>(out: &mut Vec<Action<R, End<R>>>, end: impl Fn(T) -> End<R>, step: impl FnOnce(&mut Vec<Action<R, T>>)) {
    let mut own = Vec::new();
    step(&mut own);
    out.extend(own.into_iter().map(|action| action.map(&end)));
}

impl<R: Value, I: Intent<R>> Machine<R> for Either<R, I> {
    type End = End<R>;

    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<R, End<R>>>) {
        match self {
            Either::Write(write) => tell(out, End::Write, |own| write.begin(fresh, own)),
            Either::Read(read) => tell(out, End::Read, |own| read.begin(fresh, own)),
        }
    }

    fn on(&mut self, event: Event<R>, out: &mut Vec<Action<R, End<R>>>) {
        match self {
            Either::Write(write) => tell(out, End::Write, |own| write.on(event, own)),
            Either::Read(read) => tell(out, End::Read, |own| read.on(event, own)),
        }
    }

    fn renew(&mut self, members: Arc<Members>) {
        match self {
            Either::Write(write) => write.renew(members),
            Either::Read(read) => read.renew(members),
        }
    }

    fn shut(&mut self, out: &mut Vec<Action<R, End<R>>>) {
        match self {
            Either::Write(write) => tell(out, End::Write, |own| write.shut(own)),
            Either::Read(read) => tell(out, End::Read, |own| read.shut(own)),
        }
    }

    fn deadline(&mut self, out: &mut Vec<Action<R, End<R>>>) {
        match self {
            Either::Write(write) => tell(out, End::Write, |own| write.deadline(own)),
            Either::Read(read) => tell(out, End::Read, |own| read.deadline(own)),
        }
    }

    fn at_stake(&self) -> bool {
        match self {
            Either::Write(write) => write.at_stake(),
            Either::Read(read) => read.at_stake(),
        }
    }

    fn members(&self) -> &Members {
        match self {
            Either::Write(write) => write.members(),
            Either::Read(read) => read.members(),
        }
    }
}
