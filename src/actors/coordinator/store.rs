//! What a coordinator may ask of the StoreActor beside it, and nothing else.

use crate::actors::messages::{
    Bury, CastHere, CopySmall, CountTombstones, FindClosing, FindDue, FindTentative, HoldBody, HoldsClosed,
    KnowsBucket, LandSealed, LandUpload, ListBuckets, ListObjects, MutateHere, NameOfBucket, OpenAccess, OpenObject,
    OpenRecord, Peek, ReadAccess, ScanSlots, SealAnew, SealLast, SealPieces, SealSecret, SealSmall, SealUpload, Seat,
    ShowSlots, StageUpload, recipients,
};

recipients! {
    /// The store, as far as coordinators know it.
    pub struct StoreBeside {
        /// Asks this node's replica for its votes.
        cast_here: CastHere,
        /// Looks what is in memory.
        peek: Peek,
        /// Looks what is known of a bucket.
        knows_bucket: KnowsBucket,
        /// Looks for the name of a bucket.
        name_of_bucket: NameOfBucket,
        /// Looks whether a bucket is held as a deletion closed it.
        holds_closed: HoldsClosed,
        /// Finds buckets that are being deleted.
        find_closing: FindClosing,
        /// Decides a mutation without the other nodes.
        mutate_here: MutateHere,
        /// Seals a small body, and decides alone on its record.
        seal_small: SealSmall,
        /// Holds a body that a record is to refer to anew.
        hold_body: HoldBody,
        /// Seals a small body anew for a copy, and decides alone on its record.
        copy_small: CopySmall,
        /// Seals what is said of an upload in parts.
        seal_upload: SealUpload,
        /// Begins a body that does not fit its record.
        stage_upload: StageUpload,
        /// Seals and stages more of it.
        seal_pieces: SealPieces,
        /// Ends a body that no peer gets as a stream, and makes it durable.
        land_upload: LandUpload,
        /// Seals the end of a body that peers get as a stream too.
        seal_last: SealLast,
        /// Makes that body durable.
        land_sealed: LandSealed,
        /// Opens the body of a record that was chosen.
        open_record: OpenRecord,
        /// Opens what this node holds.
        open_object: OpenObject,
        /// Lists what this node holds.
        list_objects: ListObjects,
        /// The buckets that it knows.
        list_buckets: ListBuckets,
        /// A page of registers as replicas see them.
        scan_slots: ScanSlots,
        /// What a list shows of a range.
        show_slots: ShowSlots,
        /// Reads what this node holds of the access keys.
        read_access: ReadAccess,
        /// Opens access keys as others hold them.
        open_access: OpenAccess,
        /// Seals the secret of an access key.
        seal_secret: SealSecret,
        /// Seals a key under the generation that seals now.
        seal_anew: SealAnew,
        /// Changes the node's part in its cluster.
        seat: Seat,
        /// Finds what was left tentative.
        find_tentative: FindTentative,
        /// Finds tombstones that are old enough.
        find_due: FindDue,
        /// Counts this node's tombstones.
        count_tombstones: CountTombstones,
        /// Drops tombstones that all members were found to hold.
        bury: Bury,
    }
}
