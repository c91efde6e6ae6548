//! `boveda verify`: a whole data directory checked offline, on a disk whose changes stay in memory.

use super::error::NodeError;
use super::key_source::KeySource;
use super::keys;
use crate::audit::DIR;
use crate::audit::check::{self as audit, Finding as AuditFinding, Report};
use crate::base::{Class, Exit};
use crate::config::Config;
use crate::disk::{RealDisk, ShadowDisk};
use crate::store::verify::{Finding, Summary};
use crate::store::{self, Options, StoreError};
use std::io::Write;
use std::sync::Arc;

/// Checks the directory that the settings name and reports on every object.
pub fn verify(config: Config, json: bool) -> Exit {
    match check(&config, json) {
        Ok((sum, audit)) if sum.damaged == 0 && sum.miscounted == 0 && audit.damaged == 0 => Exit::Done,
        Ok(_) => Exit::Partly,
        Err(error) => {
            eprintln!("boveda: {error}");
            error.exit()
        }
    }
}

fn check(config: &Config, json: bool) -> Result<(Summary, Report), NodeError> {
    let dir = &config.node.data;
    let lost = store::open::has_lost_identity(&RealDisk, dir);
    if lost.map_err(|source| NodeError::Store { dir: dir.clone(), source })? {
        let why = "its file \"identity\" is missing: nothing in it opens without; put it back, or move the directory aside: a \
                   node of a cluster is then filled from its peers";
        return Ok((unopened(why.to_owned(), json), Report::default()));
    }
    if !keys::is_made(dir)? {
        return Err(NodeError::NoData(dir.clone()));
    }
    let _lock = RealDisk::lock(dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => NodeError::Locked(dir.clone()),
        _ => NodeError::Data { op: "lock", path: dir.clone(), source },
    })?;
    let ring = keys::ring(&KeySource::of(config)?)?;
    let fail = |source| NodeError::Store { dir: dir.clone(), source };
    let opened =
        store::open(Arc::new(ShadowDisk::new()), dir, Arc::clone(&ring), config.cluster.id, Options::default());
    let (store, _clockwork) = match opened {
        Ok(opened) => opened,
        // What a start meets is no less damaged than what it does not.
        Err(error) if error.class() == Class::Corrupt || is_missing(&error) => {
            return Ok((unopened(error.to_string(), json), Report::default()));
        }
        Err(error) => return Err(fail(error)),
    };
    // A reader that closed our output early has seen what it wanted.
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let sum = store.verify(&mut |finding| drop(show(&mut out, &finding, json))).map_err(fail)?;
    let audit = audit::verify(&ShadowDisk::new(), &dir.join(DIR), &ring)?;
    let _ = show_audit(&mut out, &audit, json).and_then(|()| summary(&mut out, &sum, json));
    let _ = out.flush();
    Ok((sum, audit))
}

/// Whether a file is gone that every made directory has.
fn is_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Disk { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Tells of a directory that does not open: damaged as a whole.
fn unopened(why: String, json: bool) -> Summary {
    let mut out = std::io::stdout().lock();
    let sum = Summary { damaged: 1, ..Summary::default() };
    let what = Finding::Damaged { name: "the data directory".to_owned(), why };
    let _ = show(&mut out, &what, json).and_then(|()| summary(&mut out, &sum, json)).and_then(|()| out.flush());
    sum
}

fn show(out: &mut impl Write, finding: &Finding, json: bool) -> std::io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(finding).map_err(std::io::Error::other)?);
    }
    match finding {
        Finding::Object { name, len } => writeln!(out, "ok       {len:>14}  {}", name.escape_debug()),
        Finding::Bucket { name } => writeln!(out, "bucket   {:>14}  {name}", ""),
        Finding::Damaged { name, why } => writeln!(out, "DAMAGED  {:>14}  {}: {why}", "", name.escape_debug()),
        Finding::Miscounted { body, counted, records } => {
            writeln!(out, "COUNT    {:>14}  body {body}: counted for {counted} records, and {records} refer to it", "")
        }
        Finding::MiscountedKeys { generation, counted, records } => {
            let under = format!("counted for {counted} keys, and {records} are sealed under it");
            writeln!(out, "COUNT    {:>14}  key generation {generation}: {under}", "")
        }
        Finding::Misfilled { name, told, found } => writeln!(
            out,
            "COUNT    {:>14}  bucket {name}: told to hold {} objects ({} bytes), and holds {} ({})",
            "", told.objects, told.bytes, found.objects, found.bytes
        ),
        Finding::Orphan { body } => writeln!(out, "orphan   {:>14}  blob {body}, removed at the next start", ""),
    }
}

/// What was found of the audit log, and how far it goes.
fn show_audit(out: &mut impl Write, audit: &Report, json: bool) -> std::io::Result<()> {
    if json {
        let line = serde_json::json!({ "audit": audit });
        return writeln!(out, "{line}");
    }
    for AuditFinding { file, after, what } in &audit.findings {
        writeln!(out, "AUDIT    {:>14}  {file}, behind line {after}: {what}", "")?;
    }
    writeln!(
        out,
        "audit log: {} lines in {} files, {} to {}; {} findings",
        audit.lines, audit.files, audit.first, audit.last, audit.damaged
    )
}

fn summary(out: &mut impl Write, sum: &Summary, json: bool) -> std::io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(sum).map_err(std::io::Error::other)?);
    }
    writeln!(
        out,
        "{} objects open ({} bytes), {} damaged; {} buckets, {} tombstones, {} orphans, {} miscounted, {} in quarantine, {} files \
         of others",
        sum.objects,
        sum.bytes,
        sum.damaged,
        sum.buckets,
        sum.tombstones,
        sum.orphans,
        sum.miscounted,
        sum.quarantined,
        sum.strangers
    )
}
