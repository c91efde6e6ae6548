//! Words that every room uses: names, ballots, records, budgets, secrets, error classes.
//!
//! Nothing here touches a disk, a socket, a clock or a cipher. What a record or a name means is
//! settled here once, and parsed once at the edge.
//!
//! | file | what |
//! |---|---|
//! | `names` | buckets, object keys, and the keys of registers |
//! | `ids` | bodies, lives of buckets, nodes, incarnations, epochs, writes: none is a bare integer |
//! | `ballot` `lineage` | the order of states; the writes that led to one |
//! | `record` | one state of a register, as disks and peers keep it |
//! | `quota` | how much a bucket holds, and how much it may |
//! | `access` `credential` | in it: an access key, its grants and its sealed secrets; what its owner has of it |
//! | `public` | in it: what of a bucket is open to everybody |
//! | `settings` | in it: what the nodes of a cluster have decided on for all of them |
//! | `head` `blob_ref` | in it: what the writer of an object says of it; the blob that holds its body |
//! | `upload` | in it: the uploads in parts that a key has open; the parts that an object is made of |
//! | `checksum` | sums over an object's plaintext, and which of them is its ETag |
//! | `condition` | what must hold for a write to take place |
//! | `page` `folds` | registers of a range, and what they are complete to; those that a list shows as one |
//! | `sum` `mark` | sums that nodes compare; counters of rare paths, for the gates |
//! | `codec` | the one way formats are written and read |
//! | `budget` `buffer` | permits; memory for bodies that is used again and again |
//! | `backoff` `calendar` | pauses that grow, with a random part; days and dates |
//! | `class` `shortage` | what the caller may do about an error; what a machine can run out of |
//! | `audit` `dates` | where an audit log ends; dates as documents write them |
//! | `secret` | keys that are zeroed and never printed |
//! | `exit` | the exit codes of commands |
//! | `log_pipe` | the log on its way to stderr, for which nobody waits |

pub mod access;
pub mod audit;
pub mod backoff;
pub mod ballot;
pub mod blob_ref;
pub mod budget;
pub mod buffer;
pub mod calendar;
pub mod checksum;
pub mod class;
pub mod codec;
pub mod condition;
pub mod credential;
pub mod dates;
pub mod exit;
pub mod folds;
pub mod head;
pub mod ids;
pub mod lineage;
pub mod log_pipe;
pub mod mark;
pub mod names;
pub mod page;
pub mod public;
pub mod quota;
pub mod record;
pub mod secret;
pub mod settings;
pub mod shortage;
pub mod sum;
pub mod upload;

pub use access::{AccessRecord, Grant, GrantError, Right, Rights};
pub use audit::AuditHead;
pub use backoff::Backoff;
pub use ballot::{Ballot, Stamp, StampClock};
pub use blob_ref::BlobRef;
pub use budget::{Budget, Permit};
pub use buffer::{Buffer, BufferPool, LARGE_BODY_BYTES, LARGE_PAGE_BYTES, PIECE_BYTES};
pub use checksum::{Algorithm, Checksum, ChecksumKind, Etag, EtagMode, ExpectedSums, WantedSums};
pub use class::Class;
pub use condition::{Condition, Tags};
pub use credential::{AccessKeyId, Credential};
pub use exit::Exit;
pub use folds::Folds;
pub use head::ObjectHead;
pub use ids::{BodyId, BucketId, ClusterId, Epoch, Incarnation, KekId, NodeName, UploadId, WriteId};
pub use lineage::Lineage;
pub use mark::Mark;
pub use names::{BucketName, NameError, ObjectKey, ObjectName, RegisterKey, RegisterKind};
pub use page::{Complete, Page};
pub use public::{PublicGrant, PublicGrants};
pub use quota::{BucketUsage, Quota};
pub use record::{BodyAt, BucketRecord, InHand, ObjectRecord, Record, State, Wrap};
pub use secret::Secret;
pub use settings::{ActiveKey, SettingsRecord};
pub use shortage::Shortage;
pub use sum::Sum;
pub use upload::{Part, PartOf, Parts, Uploads};
