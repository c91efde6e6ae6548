//! Why a node did not start or stop as it should: one line with the cause and the remedy.

use super::key_source::KeySourceError;
use crate::audit::AuditError;
use crate::base::{Exit, NodeName, Shortage};
use crate::disk::secret_file::SecretFileError;
use crate::disk::shortage;
use crate::store::StoreError;
use crate::tls::TlsError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The errors of a node's start and end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// There is no ring.
    #[error("{0}")]
    Keys(#[from] KeySourceError),
    /// The data is there and its keys are not.
    #[error("{} holds sealed data, but {} holds no key: mount the key directory that belongs to it (a new key cannot open it)", .data.display(), .keys.display())]
    KeysLost {
        /// The data directory, which is sealed.
        data: PathBuf,
        /// The key directory, in which no key is.
        keys: PathBuf,
    },
    /// No peer tells which cluster this is, and the ring does not begin one.
    #[error("a new node whose first key is kek-{first:04} begins no cluster: a member has to tell it which one this is, and none did ({why}); start one, or put the generations of its cluster into {}; a new cluster begins with kek-0001", .keys.display())]
    Untold {
        /// The first generation that is there.
        first: u32,
        /// The key directory.
        keys: PathBuf,
        /// What each peer answered.
        why: String,
    },
    /// A file with an access key cannot be read or made.
    #[error("{0}")]
    RootKey(SecretFileError),
    /// What `access.root_key_file` names holds no access key.
    #[error("{} holds no access key: it is to be what 'boveda access generate' prints", .0.display())]
    NoRootKey(PathBuf),
    /// A node of a cluster must not make a key of its own.
    #[error("no key in {}, and all nodes of a cluster need the same: run 'boveda key new --key-dir {}' once and copy the directory to every node", .keys.display(), .keys.display())]
    ClusterKey {
        /// The key directory, in which the cluster's key is to be.
        keys: PathBuf,
    },
    /// The certificate and its key do not make TLS.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The audit log cannot be read or written.
    #[error("{0}")]
    Audit(#[from] AuditError),
    /// Another process uses the data directory.
    #[error("{} is in use by another boveda: stop it, or choose another directory with --data", .0.display())]
    Locked(PathBuf),
    /// The data directory cannot be used.
    #[error("cannot {op} {}: {source}{}", .path.display(), disk_remedy(.source))]
    Data {
        /// The operation, as the text names it.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory is that of another node.
    #[error("{} is the data directory of {known}, and this node is named {named}: give each node its own directory, or set node.name (--name) to {known}", .dir.display())]
    OtherName {
        /// The data directory, which has served another node.
        dir: PathBuf,
        /// The name that the directory knows.
        known: NodeName,
        /// The name by `node.name`.
        named: NodeName,
    },
    /// The configuration would have the node decide without those of its member list.
    #[error("{} makes {name} a member of a cluster with {members}, but {configured}: name the members with --peer (cluster.peers) and durability majority; if they are lost for good, 'boveda leave' lets {name} go on alone", .dir.display())]
    Deserts {
        /// The data directory, in which the member list stands.
        dir: PathBuf,
        /// The name that this node has in that list.
        name: NodeName,
        /// The other members, by the directory.
        members: String,
        /// What the configuration says instead.
        configured: String,
    },
    /// There is no cluster to leave.
    #[error("{} is in no cluster with other nodes: there is nothing to leave", .0.display())]
    NothingToLeave(PathBuf),
    /// The process could not start itself again.
    #[error("cannot start again: {0}; start the node by hand")]
    Again(#[source] io::Error),
    /// The data is not where it must be.
    #[error("{} holds no Boveda data, and node.data_must_exist (--require-data) is set: mount its volume; for a first start, or to let the peers fill a new volume, start without it", .0.display())]
    DataMissing(PathBuf),
    /// Less memory than a node needs.
    #[error("the memory limit of {} MiB is too little: a node needs {} MiB at least; raise the limit of its container or control group", .0 >> 20, crate::config::CEILING_MIN >> 20)]
    Memory(u64),
    /// Fewer open files than a node needs.
    #[error(
        "the limit of open files is {limit}, and {least} are the least here: raise it (ulimit -n, LimitNOFILE= of a systemd unit, --ulimit nofile= of a container)"
    )]
    OpenFiles {
        /// What the process may have, after it was raised as far as the system lets it.
        limit: u64,
        /// What its nodes need to begin.
        least: u64,
    },
    /// There is nothing to check.
    #[error("no data directory in {}: name one with node.data (--data)", .0.display())]
    NoData(PathBuf),
    /// A listener could not be opened.
    #[error("cannot listen on {addr}: {source}; {}", listen_remedy(.source, .setting))]
    Listen {
        /// The address that could not be taken.
        addr: SocketAddr,
        /// Where it is set.
        setting: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store does not open or does not drain.
    #[error("data directory {}: {source}{}", .dir.display(), remedy(.source))]
    Store {
        /// The data directory that does not open, or does not drain.
        dir: PathBuf,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// Threads or servers could not be started.
    #[error("cannot start {what}: {source}")]
    Start {
        /// The part of the node that did not start.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// A second signal came while stopping.
    #[error("second {0}: ended before everything was drained; what was answered is in the log")]
    Hurried(&'static str),
    /// The stop took too long.
    #[error("not drained within {0:?}: ended; what was answered is in the log")]
    Deadline(Duration),
    /// The store's actor did not answer.
    #[error("the store's actor has ended early")]
    NoActor,
}

fn listen_remedy(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("stop the program that uses it, or change {setting}"),
        io::ErrorKind::AddrNotAvailable => format!("set {setting} to an address of this machine"),
        io::ErrorKind::PermissionDenied => format!("set {setting} to a port above 1023, or allow this user that one"),
        _ => format!("check {setting}"),
    }
}

fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt { .. } => {
            "; see 'boveda verify', or move the directory aside: a node of a cluster is then filled from its peers"
        }
        StoreError::Disk { source, .. } => disk_remedy(source),
        _ => "",
    }
}

/// What helps against that error of the system, met in the data directory.
fn disk_remedy(error: &io::Error) -> &'static str {
    match (shortage::of(error), error.kind()) {
        (Some(Shortage::OpenFiles), _) => "; raise the limit of open files (ulimit -n)",
        (Some(Shortage::FileSize), _) => "; raise the file size limit of this process (ulimit -f)",
        _ if shortage::is_no_room(error) => {
            "; its volume, or a quota, has no room left: give it some, or choose another with node.data (--data)"
        }
        (_, io::ErrorKind::NotFound) => {
            "; a part of the data directory is missing: put it back, or move the directory aside: a node of a cluster is then filled from its peers"
        }
        (_, io::ErrorKind::ReadOnlyFilesystem) => {
            "; its volume is mounted read-only: look at the kernel's log, and mount it writable"
        }
        (
            _,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename,
        ) => "; check node.data (--data) and that this user may write there",
        _ => "; look at the disk and at the kernel's log",
    }
}

impl NodeError {
    /// How a command ends that met this.
    pub fn exit(&self) -> Exit {
        match self {
            NodeError::Locked(_) => Exit::Busy,
            NodeError::Store { source: StoreError::ForeignKey { .. } | StoreError::KeyMissing { .. }, .. } => {
                Exit::WrongKey
            }
            NodeError::Audit(AuditError::Header { foreign: true, .. }) => Exit::WrongKey,
            NodeError::NoData(_) => Exit::NotFound,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_operation_is_told_with_what_helps_against_it() {
        let told = |errno: i32| {
            let source = io::Error::from_raw_os_error(errno);
            let source = StoreError::Disk { op: crate::store::DiskOp::Open, path: "/d/log".into(), source };
            NodeError::Store { dir: "/d".into(), source }.to_string()
        };
        for (errno, helps) in [
            (2, "missing"),
            (5, "kernel's log"),
            (13, "this user may write"),
            (24, "ulimit -n"),
            (27, "ulimit -f"),
            (28, "no room left"),
            (30, "read-only"),
        ] {
            let text = told(errno);
            assert!(text.contains(helps), "{helps}: {text}");
            assert_eq!(text.contains("may write"), errno == 13, "{text}");
        }
    }
}
