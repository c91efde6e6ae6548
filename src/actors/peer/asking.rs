//! How a node that does not know its cluster yet asks a peer for it. It has no data directory then, and no session.

use crate::actors::peer::conn::post;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::patience::CALL_MAX;
use crate::actors::peer::sockets;
use crate::base::NodeName;
use crate::seal::session::PeerKeys;
use crate::seal::{self, Origin};
use crate::wire::{HELLO_BYTES_MAX, ORIGIN_PATH, Refusal};
use actix_rt::time::timeout;
use bytes::Bytes;

/// Asks the peer of that name at `url`, under the first generation on offer that it has too.
pub async fn ask_origin(url: &str, me: &NodeName, peer: &NodeName, keys: &PeerKeys) -> Result<Origin, LinkError> {
    let (client, url) = (sockets::client(), format!("{}{ORIGIN_PATH}", url.trim_end_matches('/')));
    for key in keys.offers() {
        let (question, asked) = key.ask(me, peer, seal::random());
        let posted = post(&client, &url, Bytes::from(question), HELLO_BYTES_MAX);
        match timeout(CALL_MAX, posted).await.map_err(|_| LinkError::Silent)? {
            Err(LinkError::Refused(Refusal::ForeignKey)) => {}
            answer => return key.told(&asked, &answer?).map_err(LinkError::Handshake),
        }
    }
    Err(LinkError::Refused(Refusal::ForeignKey))
}
