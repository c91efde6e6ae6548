//! Sealing anew beside a log that is being written.

use super::super::line::{Line, NODE, Outcome};
use super::super::running::{Audit, Setup, now_ms};
use super::super::testing::{place, ring};
use super::super::writer::{Place, Writer};
use crate::disk::{CrashDisk, Disk, DiskFile, Space};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn line(target: &str) -> Line {
    Line::of(NODE, "bucket:create", Outcome::Done).at(target)
}

/// A disk on which a file of the log waits before it gets its name, once that was asked for.
#[derive(Debug)]
struct Gate {
    disk: CrashDisk,
    reached: mpsc::SyncSender<()>,
    opens: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Disk for Gate {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if to.extension().is_some()
            && let Some(opens) = self.opens.lock().expect("no panic").take()
        {
            self.reached.send(()).expect("somebody waits");
            opens.recv().expect("somebody opens it");
        }
        self.disk.rename(from, to)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_new(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }
}

#[test]
fn a_file_that_begins_while_another_generation_begins_to_seal_is_sealed_anew_too() {
    let (disk, both) = (CrashDisk::new(1), Arc::new(ring(&[1, 2])));
    let (first, second) = (ring(&[1]).active(), ring(&[2]).active());
    assert!(both.seal_with(first));
    let (reached, at_gate) = mpsc::sync_channel(1);
    let gate = Arc::new(Gate { disk: disk.clone(), reached, opens: Mutex::default() });
    let place = Place { disk: Arc::clone(&gate) as Arc<dyn Disk>, ..place(&disk, &both) };
    let log = Audit::start(Setup { place: place.clone(), objects: false, low: Box::new(|| false) }).expect("it starts");
    log.change_blocking(line("a")).expect("it is written");
    let (open, opens) = mpsc::channel();
    *gate.opens.lock().expect("no panic") = Some(opens);
    std::thread::scope(|scope| {
        let tomorrow = now_ms() + DAY_MS;
        scope.spawn(move || Writer::new(place).append(&[line("b")], tomorrow).expect("it is written"));
        at_gate.recv().expect("a file begins");
        assert!(both.seal_with(second));
        let (tell, done) = mpsc::channel();
        let log = &log;
        scope.spawn(move || tell.send(log.rewrap().map_err(|error| error.to_string())));
        // It waits for the file; if it did not, it would miss it.
        let early = done.recv_timeout(Duration::from_millis(200)).ok();
        open.send(()).expect("it waits there");
        let sealed = early.unwrap_or_else(|| done.recv().expect("it ends"));
        assert_eq!(sealed, Ok(2));
    });
    assert_eq!(log.sealed_under().expect("it reads"), BTreeSet::from([second]));
    log.stop(line("c"));
}
