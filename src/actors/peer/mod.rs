//! A session with another node, seen from both sides, and what is known of that node.
//!
//! | file | | what |
//! |---|---|---|
//! | `conn` `sockets` | does | a session with a peer as its caller sees it, and the sockets below it |
//! | `asking` | does | how a node that does not know its cluster yet is told of it |
//! | `sessions` | does | the same session as the listener sees it: who is let in, and what each may hold |
//! | `answers` | does | what a call of a peer is answered |
//! | `arrivals` | decides | bodies that are on their way here |
//! | `forming` | decides | how nodes without a member list come to one |
//! | `list_exchange` | does | member lists on their way between two nodes |
//! | `list_watch` | decides | whose list differs from this node's |
//! | `key_watch` | decides | which key generations the others can open |
//! | `reach` | decides | which peers answer, and whether there is a majority |
//! | `plan` | | what is known of one peer, shared by all who talk to it |
//! | `patience` | | how long a peer is tried, waited for and passed over |
//! | `node_view` | | how this node is, as its peers need to know at once |
//! | `meeting` | does | the two tell each other how they stand before anything counts |
//! | `peer_request` | | what is asked of a peer by way of its votes lane |
//! | `transfers` | decides | which bodies are on their way to a peer, and which wait for their turn |
//! | `store` | | what a session may ask of this node's store |
//! | `error` | | what a call of a peer ends with |

pub mod answers;
pub mod arrivals;
pub mod asking;
pub mod conn;
pub mod error;
pub mod forming;
pub mod key_watch;
pub(in crate::actors) mod list_exchange;
pub mod list_watch;
pub mod meeting;
pub mod node_view;
pub mod patience;
pub mod peer_request;
pub mod plan;
pub mod reach;
pub mod sessions;
mod sockets;
pub mod store;
pub mod transfers;
