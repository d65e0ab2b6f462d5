//! The first words of a connection, inside TLS: which wire versions each side speaks, and whether
//! the listener takes the dialler.
//!
//! ```text
//! dialler ──hello──▶ listener      [b"MRDN"][length u16][lowest u16][highest u16][name length u8][name]
//! dialler ◀──hello── listener      the same
//! dialler ◀─verdict─ listener      [code u8][length u16][detail]
//!                                   code 0: detail is the chosen version u16
//!                                   otherwise: a refusal, detail is the reason as text
//! ```
//!
//! This exchange is the same for every wire version, for ever: it is what lets two releases tell
//! each other that they do not understand each other. A later release may append fields to
//! a hello; readers skip what follows the fields they know. All integers are big-endian.

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::certs::is_region_name;
use crate::rejection::Rejection;

/// The wire versions that this release speaks.
pub const SPOKEN: WireVersions = WireVersions {
    lowest: 1,
    highest: 1,
};

const MAGIC: [u8; 4] = *b"MRDN";
const BODY_BYTES_MAX: usize = 1024;
const CODE_ACCEPTED: u8 = 0;

/// An inclusive range of wire versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireVersions {
    /// The oldest version still spoken.
    pub lowest: u16,
    /// The newest version spoken.
    pub highest: u16,
}

impl WireVersions {
    /// The highest version that both sides speak.
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

impl std::fmt::Display for WireVersions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.lowest == self.highest {
            write!(formatter, "{}", self.lowest)
        } else {
            write!(formatter, "{} to {}", self.lowest, self.highest)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: WireVersions,
    pub(crate) region: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted { version: u16 },
    Refused { reason: Rejection, detail: String },
}

/// What is wrong with a preamble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreambleError {
    #[error("it does not begin with a Meridian hello")]
    Magic,
    #[error("its {bytes} bytes are more than a preamble may have")]
    TooLong { bytes: usize },
    #[error("it ends too early")]
    Short,
    #[error("its range of wire versions is empty")]
    Versions,
    #[error("it holds no valid region name")]
    Region,
}

/// A preamble that did not arrive, or arrived wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Preamble(#[from] PreambleError),
}

impl Hello {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let name = self.region.as_bytes();
        out.put_slice(&MAGIC);
        out.put_u16(length_u16(5 + name.len()));
        out.put_u16(self.versions.lowest);
        out.put_u16(self.versions.highest);
        out.put_u8(u8::try_from(name.len()).expect("region names are at most 63 bytes"));
        out.put_slice(name);
    }

    fn decode(mut body: &[u8]) -> Result<Self, PreambleError> {
        let mut u16_field = || body.try_get_u16().map_err(|_| PreambleError::Short);
        let versions = WireVersions {
            lowest: u16_field()?,
            highest: u16_field()?,
        };
        if versions.lowest > versions.highest {
            return Err(PreambleError::Versions);
        }
        let length = body.try_get_u8().map_err(|_| PreambleError::Short)?;
        let name = body.get(..length.into()).ok_or(PreambleError::Short)?;
        let region = std::str::from_utf8(name)
            .ok()
            .filter(|name| is_region_name(name))
            .ok_or(PreambleError::Region)?
            .to_owned();
        Ok(Self { versions, region })
    }

    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, ReadError> {
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(PreambleError::Magic.into());
        }
        Ok(Self::decode(&read_body(stream).await?)?)
    }
}

impl Verdict {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Accepted { version } => {
                out.put_u8(CODE_ACCEPTED);
                out.put_u16(2);
                out.put_u16(*version);
            }
            Self::Refused { reason, detail } => {
                let detail = truncated(detail, BODY_BYTES_MAX);
                out.put_u8(reason.code());
                out.put_u16(length_u16(detail.len()));
                out.put_slice(detail.as_bytes());
            }
        }
    }

    fn decode(code: u8, mut body: &[u8]) -> Result<Self, PreambleError> {
        if code == CODE_ACCEPTED {
            let version = body.try_get_u16().map_err(|_| PreambleError::Short)?;
            return Ok(Self::Accepted { version });
        }
        Ok(Self::Refused {
            reason: Rejection::from_code(code),
            detail: printable(&String::from_utf8_lossy(body)),
        })
    }

    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, ReadError> {
        let code = stream.read_u8().await?;
        Ok(Self::decode(code, &read_body(stream).await?)?)
    }
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ReadError> {
    let bytes = usize::from(stream.read_u16().await?);
    if bytes > BODY_BYTES_MAX {
        return Err(PreambleError::TooLong { bytes }.into());
    }
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// The reason ends up in logs and terminals; a peer does not get to send control characters there.
fn printable(text: &str) -> String {
    let mark = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(mark).collect()
}

fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn length_u16(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("preambles are bounded to 1 KiB")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn versions(lowest: u16, highest: u16) -> WireVersions {
        WireVersions { lowest, highest }
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(2, 5).common(versions(1, 3)), Some(3));
        assert_eq!(versions(1, 9).common(versions(4, 4)), Some(4));
        assert_eq!(versions(1, 2).common(versions(3, 4)), None);
    }

    #[test]
    fn fields_appended_by_a_later_release_are_skipped() {
        let hello = Hello {
            versions: versions(1, 2),
            region: "eu-west-1".to_owned(),
        };
        let mut wire = BytesMut::new();
        hello.encode(&mut wire);
        wire.put_slice(b"more");
        assert_eq!(Hello::decode(&wire[6..]), Ok(hello));
    }

    #[test]
    fn a_refusal_keeps_its_reason_and_loses_control_characters() {
        let refused = Verdict::Refused {
            reason: Rejection::Version,
            detail: "speaks\x1b[2J 7".to_owned(),
        };
        let mut wire = BytesMut::new();
        refused.encode(&mut wire);
        let Ok(Verdict::Refused { reason, detail }) = Verdict::decode(wire[0], &wire[3..]) else {
            panic!("not a refusal");
        };
        assert_eq!(reason, Rejection::Version);
        assert_eq!(detail, "speaks\u{fffd}[2J 7");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(noise in vec(any::<u8>(), 0..300), code: u8) {
            let _ = Hello::decode(&noise);
            let _ = Verdict::decode(code, &noise);
        }

        #[test]
        fn a_hello_comes_back(lowest in 0..100_u16, more in 0..100_u16, region in "[a-z][a-z0-9]{0,40}") {
            let hello = Hello { versions: versions(lowest, lowest + more), region };
            let mut wire = BytesMut::new();
            hello.encode(&mut wire);
            prop_assert_eq!(Hello::decode(&wire[6..]), Ok(hello));
        }
    }
}
