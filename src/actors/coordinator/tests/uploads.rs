//! Uploads in parts: what becomes of them, on a node alone and among three, and what is left of them.

use super::super::uploads::{Ages, Swept};
use super::*;
use crate::actors::testing::peer::until;
use crate::base::checksum::Sum;
use crate::base::upload::PART_BYTES_MIN;
use crate::base::{Algorithm, Checksum, ObjectRecord, Quota, Tags, UploadId};
use crate::seal::random;
use crate::store::mutation::{Mutation, Target};
use crate::store::system_ms;
use crate::wire::Scanned;
use tokio::sync::oneshot;

/// The least that a part has which is not the last.
const MIN: usize = PART_BYTES_MIN as usize;

fn head(text: &str) -> ObjectHead {
    ObjectHead { content_type: text.into(), ..ObjectHead::default() }
}

/// What a part of that number reads.
fn text(number: u16, len: usize) -> Vec<u8> {
    let first = number.to_le_bytes()[0];
    (first..=250).chain(0..first).cycle().take(len).collect()
}

impl Rig {
    async fn asks<M, T>(&self, message: M) -> Result<T, ObjectError>
    where
        M: ActorMessage<Result = Result<T, ObjectError>> + Send + 'static,
        T: Send + 'static,
        CoordinatorActor: Handler<M>,
    {
        soon("an answer", self.actor.send(message)).await.expect("the coordinator is there")
    }

    async fn creates(&self, at: &ObjectName, checksum: Option<ChecksumKind>) -> OpenUpload {
        let create = CreateUpload { at: at.clone(), head: head("upload"), checksum };
        let upload = self.asks(create).await.expect("it is begun");
        self.asks(FindUpload { at: at.clone(), upload }).await.expect("it is open")
    }

    /// Stores a part: as whoever completes the upload names it.
    async fn puts(&self, upload: &OpenUpload, number: u16, body: Vec<u8>) -> Result<NamedPart, ObjectError> {
        let part = Some(PartOf { upload: upload.id, number, wrap: upload.wrap.clone() });
        let sums = WantedSums {
            md5: true,
            for_etag: true,
            sha256: false,
            checksum: upload.checksum.map(|kind| kind.algorithm),
        };
        let (at, len) = (upload.at.clone(), body.len() as u64);
        let begin = BeginUpload {
            at,
            condition: Condition::NONE,
            head: ObjectHead::default(),
            part,
            len_hint: Some(len),
            sums,
            permit: None,
        };
        let begun = self.asks(begin).await?;
        let begun = self.asks(AppendUpload { upload: begun, data: vec![body.into()] }).await?;
        let written = self.asks(FinishUpload { upload: begun, expected: ExpectedSums::default() }).await?;
        Ok(NamedPart { number, etag: written.etag, checksum: written.checksum })
    }

    async fn completes(&self, upload: &OpenUpload, parts: &[NamedPart]) -> Result<Written, ObjectError> {
        self.asks(completing(upload, parts)).await
    }

    async fn aborts(&self, upload: &OpenUpload) -> Result<(), ObjectError> {
        self.asks(AbortUpload { at: upload.at.clone(), upload: upload.id }).await
    }

    async fn is_open(&self, upload: &OpenUpload) -> bool {
        match self.asks(FindUpload { at: upload.at.clone(), upload: upload.id }).await {
            Ok(_) => true,
            Err(ObjectError::Store(StoreError::NoSuchUpload)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The ids of all uploads of the bucket that are open.
    async fn lists(&self) -> Vec<UploadId> {
        let (bucket, prefix) = (BucketName::cargas(), String::new());
        let page = self.asks(ListUploads { bucket, prefix, delimiter: None, after: None, limit: 1000 }).await;
        page.expect("a page").uploads.into_iter().map(|upload| upload.id).collect()
    }

    async fn parts(&self, upload: &OpenUpload, after: u16, limit: usize) -> (Vec<u16>, bool) {
        let list = ListParts { at: upload.at.clone(), upload: upload.id, after, limit };
        let page = self.asks(list).await.expect("a page");
        (page.parts.iter().map(|part| part.number).collect(), page.is_truncated)
    }
}

fn completing(upload: &OpenUpload, parts: &[NamedPart]) -> CompleteUpload {
    CompleteUpload {
        at: upload.at.clone(),
        upload: upload.id,
        parts: parts.to_vec(),
        condition: Condition::NONE,
        checksum: None,
        len: None,
        permit: None,
    }
}

fn is_no_upload<T>(done: &Result<T, ObjectError>) -> bool {
    matches!(done, Err(ObjectError::Store(StoreError::NoSuchUpload)))
}

/// The register of an upload, or of a part of it.
fn register(upload: &OpenUpload, number: Option<u16>) -> RegisterKey {
    let life = register_by_name(&upload.at).bucket_id().expect("an object's");
    match number {
        None => RegisterKey::upload(life, &upload.at.key, upload.id),
        Some(number) => RegisterKey::part(life, &upload.at.key, upload.id, number),
    }
}

impl Node {
    fn has_register(&self, key: &RegisterKey) -> bool {
        self.store.lookup(key).expect("it is read").is_some_and(|held| held.record.is_present())
    }

    fn has_object(&self, at: &ObjectName) -> Option<ObjectRecord> {
        let held = self.store.lookup(&register_by_name(at)).expect("it is read")?;
        held.record.object().cloned()
    }

    fn pages(&self, scan: crate::wire::Scan) -> crate::base::Page<Scanned> {
        let from = if scan.inclusive { Bound::Included(&scan.from) } else { Bound::Excluded(&scan.from) };
        let page = self.store.scan_slots(from, &scan.to, 100).expect("it is read");
        page.map(|(key, slot)| Some(Scanned { key, ballot: slot.accepted, chosen: slot.chosen }))
    }
}

impl LaneTo {
    /// Does all that is asked of a peer; bodies are taken there from here. `breaks`: what comes to nothing.
    async fn does_all(mut self, here: &Node, there: &Node, breaks: impl Fn(&Cast) -> bool) {
        while let Some(asked) = self.requests.recv().await {
            match asked.what {
                PeerRequest::Cast(cast) if breaks(&cast) => {}
                PeerRequest::Cast(cast) => there.votes(*cast).await,
                PeerRequest::Show(_, show, reply) => drop(reply.send(there.shows(show).await)),
                PeerRequest::Scan(_, scan, reply) => drop(reply.send(there.pages(scan))),
                PeerRequest::Ship(_, blob, _, done) => {
                    if there.store.open_outgoing(blob.body).is_err() {
                        there.takes(here, blob);
                    }
                    // Who has a majority waits for nobody else.
                    let _ = done.send(Carried::There);
                }
                PeerRequest::Discard(..) => {}
                other => panic!("it was not to be asked: {other:?}"),
            }
        }
    }
}

async fn while_they_do<T>(lanes: Vec<LaneTo>, here: &Node, there: &[&Node], work: impl Future<Output = T>) -> T {
    let doing = lanes.into_iter().zip(there).map(|(lane, node)| lane.does_all(here, node, |_| false));
    tokio::select! {
        done = work => done,
        _ = join_all(doing) => panic!("the lanes ended first"),
    }
}

/// Does that on a node alone, without a list and with one of itself, and at one of three nodes.
async fn everywhere(work: impl AsyncFn(&Rig, &Node)) {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    work(&rig, &node).await;
    let node = Node::new(true);
    node.adopts(&node.of_one()).await;
    let (rig, _) = coordinator(&node, 0, true, LONG);
    work(&rig, &node).await;
    let [here, there @ ..] = Node::three().await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    while_they_do(lanes, &here, &there.each_ref(), work(&rig, &here)).await;
}

#[actix_rt::test]
async fn an_upload_becomes_an_object_of_the_parts_that_are_named() {
    everywhere(async |rig, node| {
        let at = object("k");
        let upload = rig.creates(&at, None).await;
        assert_eq!((upload.head.clone(), upload.checksum, upload.at.clone()), (head("upload"), None, at.clone()));
        assert_eq!((rig.lists().await, node.has_object(&at)), (vec![upload.id], None));
        let first = rig.puts(&upload, 1, text(1, MIN)).await.expect("it is stored");
        let replaced = rig.puts(&upload, 3, text(4, 7)).await.expect("it is stored");
        let third = rig.puts(&upload, 3, text(3, 9)).await.expect("it is stored");
        rig.puts(&upload, 5, text(5, 11)).await.expect("it is stored");
        assert_eq!(rig.parts(&upload, 0, 2).await, (vec![1, 3], true));
        assert_eq!(rig.parts(&upload, 1, 2).await, (vec![3, 5], false));
        assert_eq!(rig.parts(&upload, 5, 2).await, (vec![], false));
        let other = rig.completes(&upload, &[first.clone(), replaced]).await;
        assert!(matches!(other, Err(ObjectError::Store(StoreError::WrongParts(WrongParts::Other)))), "{other:?}");
        assert!(rig.is_open(&upload).await, "whatever it is, it stays open");
        let written = rig.completes(&upload, &[first, third]).await.expect("it becomes an object");
        assert!(written.etag.ends_with("-2") && !written.existed, "{written:?}");
        // Who coordinates may be the last of all to hold what a majority holds.
        until("it is held here", || async { node.has_object(&at).is_some() }).await;
        let made = node.has_object(&at).expect("it is there");
        assert_eq!((made.len, made.etag(), made.head.clone()), (MIN as u64 + 9, written.etag.clone(), head("upload")));
        let numbers: Vec<_> = made.parts().expect("in parts").iter().map(|part| part.number).collect();
        assert_eq!((numbers, made.is_made_of(upload.id), made.uploads.is_empty()), (vec![1, 3], true, true));
        // What it was completed of is told, whatever is asked; and it is no upload any more.
        let again = rig.asks(CompleteUpload { condition: only_new(), ..completing(&upload, &[]) }).await;
        let again = again.expect("it was completed");
        assert_eq!((again.etag, again.existed), (written.etag, true));
        assert!(is_no_upload(&rig.aborts(&upload).await) && !rig.is_open(&upload).await);
        assert_eq!(rig.lists().await, []);
        let left = [None, Some(1), Some(3), Some(5)].map(|number| register(&upload, number));
        until("nothing is left of it", || async { left.iter().all(|key| !node.has_register(key)) }).await;
        assert_eq!(node.has_object(&at), Some(made), "but what became of it");
    })
    .await;
}

fn only_new() -> Condition {
    Condition { differs: Some(Tags::Any), ..Condition::NONE }
}

#[actix_rt::test]
async fn an_upload_that_is_aborted_becomes_nothing_and_leaves_the_object_as_it_was() {
    everywhere(async |rig, node| {
        let at = object("k");
        rig.put(&at).await.expect("it is written");
        until("it is held here", || async { node.has_object(&at).is_some() }).await;
        let before = node.has_object(&at).expect("it is there");
        let (aborted, other) = (rig.creates(&at, None).await, rig.creates(&at, None).await);
        let part = rig.puts(&aborted, 1, text(1, 5)).await.expect("it is stored");
        let of_other = rig.puts(&other, 1, text(2, 5)).await.expect("it is stored");
        assert_eq!(rig.lists().await.len(), 2);
        rig.aborts(&aborted).await.expect("it is open");
        assert!(is_no_upload(&rig.aborts(&aborted).await), "it ends once");
        assert!(is_no_upload(&rig.completes(&aborted, std::slice::from_ref(&part)).await));
        assert!(!rig.is_open(&aborted).await && rig.is_open(&other).await);
        let left = [None, Some(1)].map(|number| register(&aborted, number));
        until("nothing is left of it", || async { left.iter().all(|key| !node.has_register(key)) }).await;
        let now = node.has_object(&at).expect("it is there");
        assert_eq!((now.body, now.etag(), now.number), (before.body, before.etag(), before.number));
        // Another write keeps what is open; a deletion too.
        rig.put(&at).await.expect("it is written");
        rig.delete(&at).await.expect("it is deleted");
        assert!(rig.is_open(&other).await && rig.lists().await == [other.id]);
        rig.completes(&other, &[of_other]).await.expect("it becomes an object");
        until("it is held here", || async { node.has_object(&at).is_some_and(|now| now.len == 5) }).await;
    })
    .await;
}

#[actix_rt::test]
async fn what_is_refused_leaves_the_upload_open() {
    everywhere(async |rig, node| {
        let at = object("k");
        rig.put(&at).await.expect("it is written");
        let kind = ChecksumKind { algorithm: Algorithm::Crc32, is_composite: false };
        let upload = rig.creates(&at, Some(kind)).await;
        let part = rig.puts(&upload, 1, text(1, 50)).await.expect("it is stored");
        let complete = || completing(&upload, std::slice::from_ref(&part));
        let wrong = Checksum::of_all(Algorithm::Crc32, &[1; 4]);
        for (complete, is_it) in [
            (CompleteUpload { condition: only_new(), ..complete() }, |error: &StoreError| {
                matches!(error, StoreError::Precondition)
            }),
            (CompleteUpload { parts: vec![], ..complete() }, |error: &StoreError| {
                matches!(error, StoreError::WrongParts(WrongParts::Count))
            }),
            (CompleteUpload { len: Some(49), ..complete() }, |error: &StoreError| {
                matches!(error, StoreError::WrongParts(WrongParts::Length))
            }),
            (CompleteUpload { checksum: wrong, ..complete() }, |error: &StoreError| {
                matches!(error, StoreError::SumMismatch(Sum::Checksum(Algorithm::Crc32)))
            }),
        ] as [(CompleteUpload, fn(&StoreError) -> bool); 4]
        {
            match rig.asks(complete).await {
                Err(ObjectError::Store(error)) if is_it(&error) => {}
                other => panic!("another answer: {other:?}"),
            }
            assert!(rig.is_open(&upload).await);
        }
        let other = FindUpload { at: object("other"), upload: upload.id };
        assert!(is_no_upload(&rig.asks(other).await), "it is another key's");
        let fitting = CompleteUpload { checksum: part.checksum, len: Some(50), ..complete() };
        let written = rig.asks(fitting).await.expect("all of it fits");
        assert_eq!((written.checksum, written.existed), (part.checksum, true));
        until("it is held here", || async { node.has_object(&at).is_some_and(|now| now.len == 50) }).await;
    })
    .await;
}

#[actix_rt::test]
async fn parts_count_when_they_become_an_object() {
    everywhere(async |rig, node| {
        let at = object("k");
        let quota = Quota { objects: None, bytes: Some(100) };
        let set = SetBucket { bucket: BucketName::cargas(), setting: BucketSetting::Quota(quota) };
        rig.asks(set).await.expect("it is set");
        let life = register_by_name(&at).bucket_id().expect("an object's");
        let upload = rig.creates(&at, None).await;
        let small = rig.puts(&upload, 2, text(2, 60)).await.expect("as an object of that size");
        let large = rig.puts(&upload, 3, text(3, 101)).await;
        assert!(matches!(large, Err(ObjectError::Store(StoreError::QuotaExceeded))), "{large:?}");
        assert_eq!(node.store.usage(life).bytes, 0, "parts are no objects");
        rig.completes(&upload, &[small]).await.expect("there is room for it");
        until("it counts", || async { node.store.usage(life).bytes == 60 }).await;
        let upload = rig.creates(&object("l"), None).await;
        let part = rig.puts(&upload, 1, text(1, 40)).await.expect("there is room for it");
        let another = rig.creates(&object("m"), None).await;
        let of_another = rig.puts(&another, 1, text(1, 40)).await.expect("so there is for this, by itself");
        rig.completes(&upload, &[part]).await.expect("it just fits");
        until("it counts", || async { node.store.usage(life).bytes == 100 }).await;
        let full = rig.completes(&another, &[of_another]).await;
        assert!(matches!(full, Err(ObjectError::Store(StoreError::QuotaExceeded))), "{full:?}");
        assert!(rig.is_open(&another).await);
    })
    .await;
}

#[actix_rt::test]
async fn who_lacks_a_part_is_brought_it_before_it_takes_the_whole() {
    let [here, lacks, away] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let at = object("k");
    let third = lanes.pop().expect("a lane to it");
    let second = lanes.pop().expect("a lane to it");
    let (stored, is_stored) = oneshot::channel();
    let work = async {
        let upload = rig.creates(&at, None).await;
        let first = rig.puts(&upload, 1, text(1, MIN)).await.expect("it is stored");
        let last = rig.puts(&upload, 2, text(2, 5)).await.expect("it is stored");
        // What is known to be chosen here is not settled with the second one.
        let all =
            [register_by_name(&at), register(&upload, None), register(&upload, Some(1)), register(&upload, Some(2))];
        let is_chosen = |key: &RegisterKey| {
            let held = here.store.lookup(key).expect("it is read");
            held.is_some_and(|held| held.chosen)
        };
        until("it is known here", || async { all.iter().all(is_chosen) }).await;
        stored.send(()).expect("somebody waits");
        // From here on the third one is away, so that the second one's vote is needed.
        rig.completes(&upload, &[first, last]).await.expect("it becomes an object")
    };
    // The second one comes back when the parts are there: it has missed them, and what was said of the upload.
    let mut second = Some(second);
    let third = async {
        tokio::select! {
            () = third.does_all(&here, &away, |_| false) => panic!("its lane ended first"),
            done = is_stored => done.expect("they are stored"),
        }
    };
    let serving = async {
        let mut missed = second.take().expect("its lane");
        tokio::select! {
            () = third => {}
            () = async { while missed.requests.recv().await.is_some() {} } => panic!("its lane ended first"),
        }
        assert!(lacks.has_object(&at).is_none());
        missed.does_all(&here, &lacks, |_| false).await;
    };
    let written = tokio::select! {
        written = work => written,
        () = serving => panic!("the lanes ended first"),
    };
    assert_eq!(written.replicas, 2);
    let made = lacks.has_object(&at).expect("it took it");
    for part in made.bodies() {
        assert!(lacks.store.open_outgoing(part.body).is_ok(), "it has all parts");
    }
}

/// What a sweep does so many minutes from now.
async fn sweeps(rig: &Rig, minutes: u64) -> Swept {
    let (left, stale) = (Duration::from_secs(3_600), Duration::from_secs(2 * 3_600));
    let ages = Ages { now_ms: system_ms() + minutes * 60_000, left, stale };
    soon("a sweep", rig.direct.sweep_uploads(None, ages)).await.expect("it sweeps")
}

fn done(aborted: usize, dropped: usize) -> Swept {
    Swept { next: None, aborted, dropped }
}

#[actix_rt::test]
async fn what_is_left_of_uploads_goes_and_those_that_nobody_ends_are_ended() {
    everywhere(async |rig, node| {
        let at = object("k");
        // Described, and whoever did so ended before it was opened.
        let unopened = UploadId(random());
        let seal = SealUpload { upload: unopened, head: head("upload"), checksum: None };
        let described = rig.direct.ask(seal).await.expect("it is sealed");
        let describe = Mutation::put_part(Target::Upload(at.clone(), unopened), described, system_ms());
        rig.direct.change(describe, None, None).await.expect("it is written");
        let open = rig.creates(&at, None).await;
        let part = rig.puts(&open, 1, text(1, 5)).await.expect("it is stored");
        // A part that came when its upload had ended.
        let ended = rig.creates(&at, None).await;
        rig.aborts(&ended).await.expect("it is open");
        until("nothing is left of it", || async { !node.has_register(&register(&ended, None)) }).await;
        rig.puts(&ended, 7, text(7, 5)).await.expect("nobody asks");
        assert_eq!(sweeps(rig, 59).await, done(0, 0));
        assert_eq!(sweeps(rig, 61).await, done(0, 2));
        assert_eq!(sweeps(rig, 61).await, done(0, 0), "it is gone");
        let life = register_by_name(&at).bucket_id().expect("an object's");
        let gone = [RegisterKey::upload(life, &at.key, unopened), register(&ended, Some(7))];
        until("it is gone here", || async { gone.iter().all(|key| !node.has_register(key)) }).await;
        assert!(rig.is_open(&open).await && rig.lists().await == [open.id]);
        assert_eq!(sweeps(rig, 121).await, done(1, 1));
        assert!(!rig.is_open(&open).await && is_no_upload(&rig.completes(&open, &[part]).await));
        let gone = [register(&open, None), register(&open, Some(1))];
        until("it is gone here", || async { gone.iter().all(|key| !node.has_register(key)) }).await;
    })
    .await;
}

#[actix_rt::test]
async fn uploads_do_not_keep_a_bucket_and_go_behind_it() {
    everywhere(async |rig, node| {
        let at = object("k");
        let upload = rig.creates(&at, None).await;
        rig.puts(&upload, 1, text(1, 5)).await.expect("it is stored");
        let bucket = BucketName::cargas();
        rig.asks(DeleteBucket { bucket: bucket.clone() }).await.expect("no object is in it");
        until("this node knows it", || async { node.store.bucket_slot(&bucket).is_none() }).await;
        let gone = rig.asks(FindUpload { at: at.clone(), upload: upload.id }).await;
        assert!(matches!(gone, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{gone:?}");
        // The key, what describes the upload, and its part.
        assert_eq!(sweeps(rig, 59).await, done(0, 0));
        assert_eq!(sweeps(rig, 61).await, done(0, 3));
        assert_eq!(sweeps(rig, 61).await, done(0, 0));
        let left = [register(&upload, None), register(&upload, Some(1)), register_by_name(&at)];
        let is_left = |key: &RegisterKey| {
            let held = node.store.lookup(key).expect("it is read");
            held.is_some_and(|held| held.record.state != State::Deleted)
        };
        until("it is gone here", || async { !left.iter().any(is_left) }).await;
        // A life of that name which begins then has nothing of it.
        rig.asks(CreateBucket { bucket }).await.expect("it is made");
        assert!(is_no_upload(&rig.asks(FindUpload { at, upload: upload.id }).await));
        assert_eq!(rig.lists().await, []);
    })
    .await;
}
