//! What a coordinator may ask of the StoreActor beside it, and nothing else.

use crate::actors::messages::{
    Bury, CastHere, CountTombstones, FindDue, FindTentative, KnowsBucket, LandSealed, LandUpload, ListBuckets,
    ListObjects, MutateHere, OpenObject, OpenRecord, Peek, ScanSlots, SealLast, SealPieces, SealSmall, Seat,
    StageUpload, recipients,
};

recipients! {
    /// The store, as far as coordinators know it.
    pub struct StoreBeside {
        /// Votes.
        cast_here: CastHere,
        /// Looks what is in memory.
        peek: Peek,
        /// Looks whether a bucket is known.
        knows_bucket: KnowsBucket,
        /// Decides alone.
        mutate_here: MutateHere,
        /// Seals a small body, and decides alone on its record.
        seal_small: SealSmall,
        /// Begins a larger one.
        stage_upload: StageUpload,
        /// Goes on with it.
        seal_pieces: SealPieces,
        /// Ends it and makes it durable.
        land_upload: LandUpload,
        /// Ends it.
        seal_last: SealLast,
        /// Makes it durable then.
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
        /// Changes the node's part in its cluster.
        seat: Seat,
        /// Finds what was left tentative.
        find_tentative: FindTentative,
        /// Finds tombstones that are old enough.
        find_due: FindDue,
        /// Counts them.
        count_tombstones: CountTombstones,
        /// Drops them.
        bury: Bury,
    }
}
