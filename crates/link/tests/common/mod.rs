//! Regions on loopback, each test with an authority of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use meridian_link::{
    Authority, Connection, DialError, Dialer, Endpoint, Identity, Limits, Listener, Rejected,
    Rejections,
};

pub const EU: &str = "eu-west-1";
pub const US: &str = "us-east-1";

/// Far longer than anything here takes; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub fn authority() -> Authority {
    Authority::create(SystemTime::now()).unwrap()
}

pub fn endpoint(authority: &Authority, region: &str) -> Endpoint {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    authority.write(directory.path()).unwrap();
    let issued = authority.issue(region, now).unwrap();
    let paths = issued.write(directory.path()).unwrap();
    Endpoint::new(Identity::load(region, &paths, now).unwrap())
}

pub fn with_limits(endpoint: Endpoint, change: impl FnOnce(&mut Limits)) -> Endpoint {
    let mut endpoint = endpoint;
    change(&mut endpoint.limits);
    endpoint
}

pub async fn listen(endpoint: &Endpoint, allowed: &[&str]) -> Listener {
    let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    Listener::bind(endpoint, anywhere(), allowed).await.unwrap()
}

pub async fn dial(
    endpoint: &Endpoint,
    peer: &str,
    address: SocketAddr,
) -> Result<Connection, DialError> {
    let dialer = Dialer::new(endpoint).unwrap();
    dialer.connect(peer, &address.to_string()).await
}

/// Accepts in the background; for tests in which nobody should get in.
pub fn keep_closed(mut listener: Listener) -> (SocketAddr, Rejections) {
    let (address, rejections) = (listener.local_address(), listener.rejections());
    tokio::spawn(async move {
        let connection = listener.accept().await;
        panic!("{connection:?} got in");
    });
    (address, rejections)
}

pub async fn next_rejection(rejections: &Rejections) -> Rejected {
    let wait = async {
        loop {
            if let Some(rejected) = rejections.last() {
                return rejected;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("nobody was rejected")
}

/// A connection from `from` to `to`: the dialler's end and the listener's.
pub async fn connect(from: &Endpoint, to: &Endpoint) -> (Connection, Connection) {
    let mut listener = listen(to, &[from.identity.region()]).await;
    let address = listener.local_address();
    let (dialled, accepted) =
        tokio::join!(dial(from, to.identity.region(), address), listener.accept());
    (dialled.unwrap(), accepted)
}

pub async fn pair() -> (Connection, Connection) {
    let authority = authority();
    connect(&endpoint(&authority, EU), &endpoint(&authority, US)).await
}

pub async fn recv(connection: &mut Connection) -> Bytes {
    tokio::time::timeout(PATIENCE, connection.receiver.recv())
        .await
        .expect("nothing came")
        .unwrap()
        .expect("the peer ended")
}
