//! What handlers may say to the store and beside it: one recipient per message, so that this list is all of it.

use crate::actors::background::scrubber::PauseScrub;
use crate::actors::messages::{
    AppendUpload, BeginUpload, ChangeMembers, CreateBucket, DeleteBucket, DeleteObject, FinishUpload, ListBuckets,
    ListObjects, OpenObject, PutSmall, ReadDownload, ShowMembers,
};
use actix::{Actor, Addr, Context, Handler, Recipient};

/// The ways from an HTTP worker to the actors on its own arbiter.
#[derive(Clone, Debug)]
pub struct StoreLinks {
    pub(in crate::http) put_small: Recipient<PutSmall>,
    pub(in crate::http) begin_upload: Recipient<BeginUpload>,
    pub(in crate::http) append_upload: Recipient<AppendUpload>,
    pub(in crate::http) finish_upload: Recipient<FinishUpload>,
    pub(in crate::http) open_object: Recipient<OpenObject>,
    pub(in crate::http) read_download: Recipient<ReadDownload>,
    pub(in crate::http) delete_object: Recipient<DeleteObject>,
    pub(in crate::http) create_bucket: Recipient<CreateBucket>,
    pub(in crate::http) delete_bucket: Recipient<DeleteBucket>,
    pub(in crate::http) list_buckets: Recipient<ListBuckets>,
    pub(in crate::http) list_objects: Recipient<ListObjects>,
    /// Who shows and changes the member list, where nodes decide together.
    pub(in crate::http) members: Option<(Recipient<ShowMembers>, Recipient<ChangeMembers>)>,
    /// Who pauses the scrubber, where there is one.
    pub(in crate::http) pause_scrub: Option<Recipient<PauseScrub>>,
}

impl StoreLinks {
    /// Links to whoever writes, to whoever opens and lists, and to whoever reads what is open.
    pub fn new<W, R>(writes: &Addr<W>, reads: &Addr<R>, read_download: Recipient<ReadDownload>) -> Self
    where
        W: Actor<Context = Context<W>>
            + Handler<PutSmall>
            + Handler<BeginUpload>
            + Handler<AppendUpload>
            + Handler<FinishUpload>
            + Handler<DeleteObject>
            + Handler<CreateBucket>
            + Handler<DeleteBucket>,
        R: Actor<Context = Context<R>> + Handler<OpenObject> + Handler<ListBuckets> + Handler<ListObjects>,
    {
        StoreLinks {
            put_small: writes.clone().recipient(),
            begin_upload: writes.clone().recipient(),
            append_upload: writes.clone().recipient(),
            finish_upload: writes.clone().recipient(),
            delete_object: writes.clone().recipient(),
            create_bucket: writes.clone().recipient(),
            delete_bucket: writes.clone().recipient(),
            open_object: reads.clone().recipient(),
            list_buckets: reads.clone().recipient(),
            list_objects: reads.clone().recipient(),
            read_download,
            members: None,
            pause_scrub: None,
        }
    }

    /// The same links, with somebody who shows and changes the member list.
    pub fn with_members(self, show: Recipient<ShowMembers>, change: Recipient<ChangeMembers>) -> Self {
        StoreLinks { members: Some((show, change)), ..self }
    }

    /// The same links, with a scrubber.
    pub fn with_scrubber(self, pause_scrub: Recipient<PauseScrub>) -> Self {
        StoreLinks { pause_scrub: Some(pause_scrub), ..self }
    }
}
