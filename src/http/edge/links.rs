//! What handlers may say to the store and beside it: one recipient per message, so that these lists are all of it.

use crate::actors::messages::{
    AbortUpload, AppendUpload, BeginUpload, ChangeAccess, ChangeMembers, CompleteUpload, CopyObject, CreateAccess,
    CreateBucket, CreateUpload, DeleteBucket, DeleteObject, FindUpload, FinishUpload, ListBuckets, ListObjects,
    ListParts, ListUploads, OpenObject, PauseScrub, PutSmall, ReadDownload, RotateKeys, SetBucket, ShowMembers,
    recipients,
};
use actix::Recipient;

recipients! {
    /// Whoever writes, on a worker's arbiter.
    pub struct WriteLinks {
        /// Writes an object whose body has come whole.
        put_small: PutSmall,
        /// Begins an object whose body comes in pieces.
        begin_upload: BeginUpload,
        /// Takes more of its body.
        append_upload: AppendUpload,
        /// Ends its body, and writes it.
        finish_upload: FinishUpload,
        /// Begins an upload in parts.
        create_upload: CreateUpload,
        /// Looks up an upload that is open.
        find_upload: FindUpload,
        /// Has an upload become an object.
        complete_upload: CompleteUpload,
        /// Ends an upload without an object.
        abort_upload: AbortUpload,
        /// Lists the parts of an upload.
        list_parts: ListParts,
        /// Lists the uploads of a bucket.
        list_uploads: ListUploads,
        /// Writes an object anew under another name, or with another head.
        copy_object: CopyObject,
        /// Deletes an object; one that is not there is a success.
        delete_object: DeleteObject,
        /// Makes a bucket; one that is there stays as it is.
        create_bucket: CreateBucket,
        /// Deletes a bucket that is empty.
        delete_bucket: DeleteBucket,
        /// Changes what a bucket is set to.
        set_bucket: SetBucket,
        /// Makes an access key.
        create_access: CreateAccess,
        /// Changes an access key, or revokes it.
        change_access: ChangeAccess,
        /// Makes another key generation the one that seals.
        rotate_keys: RotateKeys,
    }
}

recipients! {
    /// Whoever opens and lists, on a worker's arbiter: the coordinator, or the StoreActor of a node that decides alone
    /// by its configuration. So both answer these.
    pub struct ReadLinks {
        /// Opens an object: what is known of it, and the way to its body.
        open_object: OpenObject,
        /// Lists the buckets, all of them at once.
        list_buckets: ListBuckets,
        /// Lists a page of a bucket's objects.
        list_objects: ListObjects,
    }
}

recipients! {
    /// Who knows the member list, where nodes decide together.
    pub struct MemberLinks {
        /// Shows it, with who of it is there.
        show: ShowMembers,
        /// Brings the cluster to another list, and answers when that is in force.
        change: ChangeMembers,
    }
}

/// The ways from an HTTP worker to the actors on its own arbiter.
#[derive(Clone, Debug)]
pub struct StoreLinks {
    pub(in crate::http) writes: WriteLinks,
    pub(in crate::http) reads: ReadLinks,
    /// Who reads what is open.
    pub(in crate::http) read_download: Recipient<ReadDownload>,
    /// None where this node decides alone.
    pub(in crate::http) members: Option<MemberLinks>,
    /// Who pauses the scrubber, where there is one.
    pub(in crate::http) pause_scrub: Option<Recipient<PauseScrub>>,
}

impl StoreLinks {
    /// Links to a store without members and scrubber.
    pub fn new(writes: WriteLinks, reads: ReadLinks, read_download: Recipient<ReadDownload>) -> Self {
        StoreLinks { writes, reads, read_download, members: None, pause_scrub: None }
    }

    /// The same links, with somebody who shows and changes the member list.
    pub fn with_members(self, members: MemberLinks) -> Self {
        StoreLinks { members: Some(members), ..self }
    }

    /// The same links, with a scrubber.
    pub fn with_scrubber(self, pause_scrub: Recipient<PauseScrub>) -> Self {
        StoreLinks { pause_scrub: Some(pause_scrub), ..self }
    }
}
