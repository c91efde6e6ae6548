//! Boveda: a self-hosted object store that keeps every byte sealed and every object on several nodes.
//!
//! Begin with `docs/tour.md`, which leads through the files along a PUT, a GET, a vote and a setting; `docs/words.md`
//! has the words, `tests/README.md` the tests, `docs/adr` the decisions. The header of each room has a table of its
//! files.
//!
//! The rooms, and which may import which (left imports right, never the reverse; a test keeps it so):
//!
//! | room | job | may import |
//! |---|---|---|
//! | `base` | words everybody uses | nothing of ours |
//! | `config` | file, environment, flags | `base` |
//! | `wire` | what peers say to each other | `base` `register` |
//! | `seal` | seal and open | `base` |
//! | `sign` | requests signed with the secret of an access key | `base` `seal` |
//! | `disk` | the file system, real and simulated | `base` |
//! | `tls` | what the ports show of themselves, and whom the commands believe | `base` `disk` |
//! | `audit` | who changed what, and who was refused: lines of which none goes missing unseen | `base` `seal` `disk` |
//! | `register` | how the copies of a key agree: decisions without I/O | `base` |
//! | `store` | the store as plain synchronous code | `base` `seal` `disk` `register` |
//! | `actors` | StoreActor, coordinators, ReplicaActors, background work, and their messages | `base` `seal` `wire` `store` `register` |
//! | `http` | what clients reach: the edge of every port, and REST over it | `base` `seal` `sign` `audit` `actors` `tls` |
//! | `peer_port` | what the other nodes reach: their handshakes, calls and bodies | `base` `wire` `actors` |
//! | `node` | builds a node; owns start and shutdown order | all of them but `cli` |
//! | `cli` | commands, most of them as clients of a node | `base` `config` `seal` `sign` `disk` `audit` `tls` `store` `node` |

pub mod actors;
pub mod audit;
pub mod base;
pub mod cli;
pub mod config;
pub mod disk;
pub mod http;
pub mod node;
pub mod peer_port;
pub mod register;
pub mod seal;
pub mod sign;
pub mod store;
pub mod tls;
pub mod wire;
