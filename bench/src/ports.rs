//! Free ports on loopback, one or a block. A port can be taken by somebody else between the look and
//! its use; the process that then fails to bind says so.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// No free ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The system gave none.
    #[error("the system gave no free port on 127.0.0.1")]
    None(#[source] std::io::Error),
    /// No block is free.
    #[error("no block of {length} free ports on 127.0.0.1 between {FIRST} and {LAST}")]
    NoBlock {
        /// How long a block was looked for.
        length: u16,
    },
}

// Below the range from which Linux takes the ports of outgoing connections (32768 on).
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// One free port.
///
/// # Errors
/// [`PortError::None`].
pub fn free_port() -> Result<u16, PortError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(PortError::None)
}

/// The first port of a block of `length` ports that are free for TCP and UDP.
///
/// # Errors
/// [`PortError::NoBlock`].
pub fn free_block(length: u16) -> Result<u16, PortError> {
    let blocks = (LAST - FIRST) / length.max(1);
    let start = u16::try_from(std::process::id() % u32::from(blocks.max(1))).unwrap_or(0);
    (0..blocks)
        .map(|step| FIRST + (start + step) % blocks * length)
        .find(|first| (*first..*first + length).all(is_free))
        .ok_or(PortError::NoBlock { length })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_leaves_out_taken_ports() {
        let first = free_block(30).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 7)).unwrap();
        let second = free_block(30).unwrap();
        assert!(!(second..second + 30).contains(&(first + 7)));
    }
}
