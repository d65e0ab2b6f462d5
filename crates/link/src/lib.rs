//! Region-to-region transport: opaque messages over mutually authenticated TLS 1.3.
//!
//! ```text
//!  Dialer ──TCP──▶ Listener      who may connect
//!         ◀─TLS 1.3, both certificates─▶     who it is   (certs, tls)
//!         ◀─hello, verdict─▶                 same language (preamble)
//!         ◀─frames─▶                         messages    (frame, Sender, Receiver)
//! ```
//!
//! A [`Connection`] keeps the order of what is sent in each direction, loses nothing while it
//! lives, and fails as a whole: after an error both halves report it. It does not resume. A layer
//! above knows positions and dials again; [`Redial`] tells it when. What the messages mean is
//! none of this crate's business.
//!
//! Flow control is end to end: a sender holds at most [`Limits::queue_bytes_max`] and then waits, a
//! receiver that is not asked for messages stops reading the socket.

pub mod certs;
pub mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod redial;

mod allowed;
mod connection;
mod dialer;
mod endpoint;
mod error;
mod listener;
mod preamble;
mod receiver;
mod rejection;
mod sender;
mod shape;
mod tls;

pub use allowed::Allowed;
pub use certs::{Authority, Identity, IdentityPaths, Issued};
pub use connection::Connection;
pub use dialer::{DialError, Dialer};
pub use endpoint::{Endpoint, Limits};
pub use error::ConnectionError;
pub use frame::MESSAGE_BYTES_MAX;
pub use listener::{ListenError, Listener};
pub use preamble::{SPOKEN, WireVersions};
pub use receiver::Receiver;
pub use redial::{LinkState, Outcome, Redial, RedialPolicy};
pub use rejection::{Rejected, Rejection, Rejections};
pub use sender::Sender;
pub use shape::{LinkControl, LinkFaults, Shaping};
