//! Showing a server that we know the password, and seeing that it does.
//!
//! SCRAM-SHA-256 and MD5 by `postgres-protocol`. A password in clear text is sent over TLS only. SCRAM
//! is without channel binding: the server's certificate is verified by chain and name wherever there
//! is TLS, so nobody stands between who could be bound out.

use super::connection::{Connection, Received, protocol};
use super::endpoint::Endpoint;
use super::error::CaptureError;
use super::refusal::Refusal;
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use std::io;
use tokio_postgres::fallible_iterator::FallibleIterator;

impl Connection {
    /// Answers what the server asks until it lets us in.
    pub(super) async fn authenticate(&mut self, endpoint: &Endpoint) -> Result<(), CaptureError> {
        let mut scram = Scram::Unasked;
        loop {
            let mut out = BytesMut::new();
            let Received::Message(message) = self.receive().await? else {
                return Err(protocol("it starts a stream before authentication"));
            };
            match message {
                Message::AuthenticationOk => return scram.done(),
                Message::AuthenticationCleartextPassword if endpoint.target.is_encrypted => {
                    frontend::password_message(password(endpoint)?, &mut out)
                }
                Message::AuthenticationCleartextPassword => {
                    return Err(unauthenticated(
                        endpoint,
                        "it asks for the password in clear text, which is sent over TLS only",
                    ));
                }
                Message::AuthenticationMd5Password(body) => {
                    let user = endpoint.target.user.as_bytes();
                    let hash = md5_hash(user, password(endpoint)?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut out)
                }
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    if !mechanisms
                        .any(|one| Ok(one == SCRAM_SHA_256))
                        .unwrap_or(false)
                    {
                        return Err(unauthenticated(endpoint, "it doesn't offer SCRAM-SHA-256"));
                    }
                    scram.begin(password(endpoint)?, &mut out)
                }
                Message::AuthenticationSaslContinue(body) => scram.go_on(body.data(), &mut out),
                Message::AuthenticationSaslFinal(body) => scram.finish(body.data()),
                Message::ErrorResponse(body) => {
                    return Err(Refusal::of(&body).into_error("open a session", endpoint));
                }
                Message::NoticeResponse(_) => Ok(()),
                _ => {
                    return Err(unauthenticated(
                        endpoint,
                        "it asks for another proof than a password (GSSAPI, SSPI)",
                    ));
                }
            }
            .map_err(|error| unauthenticated(endpoint, &error.to_string()))?;
            self.send(&out).await?;
        }
    }
}

/// How far a SCRAM exchange is.
enum Scram {
    /// The server asked for something else, or trusts us.
    Unasked,
    /// We have to prove that we know the password, and the server that it does.
    Under(Box<ScramSha256>),
    /// Both did.
    Done,
}

impl Scram {
    fn begin(&mut self, password: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let exchange = ScramSha256::new(password, ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), out)?;
        *self = Self::Under(Box::new(exchange));
        Ok(())
    }

    fn go_on(&mut self, data: &[u8], out: &mut BytesMut) -> io::Result<()> {
        match self {
            Self::Under(exchange) => {
                exchange.update(data)?;
                frontend::sasl_response(exchange.message(), out)
            }
            Self::Unasked | Self::Done => Err(io::Error::other("SCRAM out of its order")),
        }
    }

    fn finish(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Under(exchange) => {
                exchange.finish(data)?;
                *self = Self::Done;
                Ok(())
            }
            Self::Unasked | Self::Done => Err(io::Error::other("SCRAM out of its order")),
        }
    }

    /// Whoever begins SCRAM and leaves it isn't the server that knows the password.
    fn done(self) -> Result<(), CaptureError> {
        match self {
            Self::Unasked | Self::Done => Ok(()),
            Self::Under(_) => Err(protocol("it didn't prove that it knows the password")),
        }
    }
}

fn password(endpoint: &Endpoint) -> Result<&[u8], CaptureError> {
    endpoint
        .password
        .as_ref()
        .map(String::as_bytes)
        .ok_or_else(|| unauthenticated(endpoint, "it asks for a password, and none is configured"))
}

fn unauthenticated(endpoint: &Endpoint, reason: &str) -> CaptureError {
    CaptureError::Authentication {
        user: endpoint.target.user.clone(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_leaves_scram_half_way_isn_t_believed() {
        let mut scram = Scram::Unasked;
        let mut out = BytesMut::new();
        scram.begin(b"password", &mut out).unwrap();
        assert!(scram.done().is_err());
        assert!(Scram::Unasked.done().is_ok());
    }
}
