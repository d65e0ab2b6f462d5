//! The links of a region: for each peer one connection that this region dials, to receive the
//! peer's streams, and one that the peer dials, to receive this region's.
//!
//! ```text
//! datasets ◀─entries─ receive ◀══ dialled ══▶ peer      subscriptions and acks go out on it
//! logs ─────entries─▶ serve   ◀══ accepted ═▶ peer      and come in on this one
//! ```
//!
//! A link carries every dataset; each has a stream of its own with a window of its own, so one
//! that stands still doesn't hold up the others.

mod answers;
mod peers;
mod receive;
mod serve;

pub(crate) use peers::{Nudges, PeerAddress, Peers, Supervisor};
pub(crate) use serve::{Streams, accept};

#[cfg(test)]
mod tests {
    /// A batch may begin with up to 256 KiB of other entries, and each of a transaction's 10,000
    /// operations costs a few bytes of its own.
    const AROUND_A_TRANSACTION_BYTES: u64 = 1 << 20;

    #[test]
    fn the_largest_transaction_fits_into_a_message() {
        let most = meridian_topology::TRANSACTION_BYTES_AT_MOST + AROUND_A_TRANSACTION_BYTES;
        assert!(most <= meridian_link::MESSAGE_BYTES_MAX as u64);
    }
}
