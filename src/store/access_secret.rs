//! The secret of an access key, sealed for its key and opened again.

use crate::base::credential::SECRET_LEN;
use crate::base::{AccessKeyId, ClusterId, Secret};
use crate::seal::Keyring;

/// The secret of an access key.
pub type AccessSecret = Secret<[u8; SECRET_LEN]>;

/// What a secret is sealed for: it opens under no other id, and in no other cluster.
fn place_of(cluster: ClusterId, id: AccessKeyId) -> Vec<u8> {
    [b"access-key|", &cluster.0[..], id.as_str().as_bytes()].concat()
}

/// Seals a secret for its key, under the generation that seals.
pub(super) fn seal_secret(ring: &Keyring, cluster: ClusterId, id: AccessKeyId, secret: &AccessSecret) -> Box<[u8]> {
    ring.seal_box(&place_of(cluster, id), secret.expose()).into()
}

/// Opens it again; none where it was sealed for another place, or under a generation that the ring lacks.
pub(super) fn open_secret(ring: &Keyring, cluster: ClusterId, id: AccessKeyId, sealed: &[u8]) -> Option<AccessSecret> {
    let plain = Secret::new(ring.open_box(&place_of(cluster, id), sealed).ok()?);
    plain.expose().as_slice().try_into().ok().map(Secret::new)
}
