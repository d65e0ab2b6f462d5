//! A connection that stands: the peer is known, the wire version agreed.

use std::net::SocketAddr;

use tokio::io::split;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::shape::LinkControl;

/// A connection to a peer whose certificate was verified.
///
/// Dropping both halves ends it. Dropping or closing the sender alone tells the peer that nothing more
/// will come.
pub struct Connection {
    /// The peer's region, as its certificate proves it.
    pub peer: String,
    /// The peer's address.
    pub address: SocketAddr,
    /// The wire version that both sides speak.
    pub wire_version: u16,
    /// The levers of the link to this peer.
    pub control: LinkControl,
    /// To the peer.
    pub sender: Sender,
    /// From the peer.
    pub receiver: Receiver,
}

impl Connection {
    pub(crate) fn new(
        endpoint: &Endpoint,
        stream: TlsStream<TcpStream>,
        peer: String,
        address: SocketAddr,
        wire_version: u16,
    ) -> Self {
        let control = endpoint.shaping.peer(&peer);
        let failure = Failure::new();
        let (read, write) = split(stream);
        let limits = &endpoint.limits;
        Self {
            sender: Sender::spawn(write, limits, control.clone(), failure.clone()),
            receiver: Receiver::new(read, limits, control.clone(), failure),
            peer,
            address,
            wire_version,
            control,
        }
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("peer", &self.peer)
            .field("address", &self.address)
            .field("wire_version", &self.wire_version)
            .finish_non_exhaustive()
    }
}
