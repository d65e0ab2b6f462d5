//! What the RFCs ask of an authoritative server, by document and section.

mod any;
mod ask;
mod limits;
mod rfc1034;
mod rfc1035;
mod rfc2181;
mod rfc2308;
mod rfc4034;
mod rfc5001;
mod rfc6891;
mod rfc7766;
mod rfc7871;
mod rfc7873;
mod rfc8482;
mod rfc9619;
mod rfc9824;
