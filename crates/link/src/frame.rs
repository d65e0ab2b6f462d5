//! Frames: how messages lie on the wire once a connection stands.
//!
//! ```text
//! ┌────────────────┬─────────┬──────────────────────────────┐
//! │ length u32 BE  │ flags u8│ body: length bytes           │
//! └────────────────┴─────────┴──────────────────────────────┘
//! flags 0: body is the message
//! flags 1: body is [message length u32 BE][LZ4 block]
//! ```
//!
//! There is no checksum: TLS authenticates every byte. Unknown flags are an error, because a reader
//! that ignores them would hand on something that it did not understand; new flags come with a
//! new wire version.
//!
//! What a peer claims is bounded before anything is allocated for it: a message has at most
//! [`MESSAGE_BYTES_MAX`] bytes, and a claim that LZ4 cannot reach from so short a body is refused.
//!
//! Pure functions over buffers, so that they can be fuzzed without a socket.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lz4_flex::block;

/// The largest message, before compression.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Shorter messages are sent as they are: there is too little in them to save.
const COMPRESS_BYTES_MIN: usize = 512;
const HEADER_BYTES: usize = 5;
const LENGTH_BYTES: usize = 4;
const FLAG_LZ4: u8 = 1;
/// One byte of an LZ4 block stands for at most this many bytes of the message.
const LZ4_RATIO_MAX: usize = 255;

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message is longer than the wire allows.
    #[error("a message of {bytes} bytes is larger than the {MESSAGE_BYTES_MAX} bytes allowed")]
    TooLarge {
        /// The length found or claimed.
        bytes: usize,
    },
    /// The peer set flags that this version does not know.
    #[error("a frame has unknown flags {flags:#04x}")]
    Flags {
        /// The flags found.
        flags: u8,
    },
    /// A compressed body does not give the message that it announced.
    #[error("a compressed frame does not unpack to the {claimed} bytes that it announced")]
    Compressed {
        /// The length announced.
        claimed: usize,
    },
}

/// Appends one message to `out` as a frame, compressed where that makes it smaller.
pub fn encode(message: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
    check_length(message.len())?;
    if message.len() >= COMPRESS_BYTES_MIN && encode_compressed(message, out) {
        return Ok(());
    }
    out.reserve(HEADER_BYTES + message.len());
    out.put_u32(length_u32(message.len()));
    out.put_u8(0);
    out.put_slice(message);
    Ok(())
}

/// Whether compression helped; `out` is unchanged if it did not.
fn encode_compressed(message: &[u8], out: &mut BytesMut) -> bool {
    let start = out.len();
    let body = start + HEADER_BYTES + LENGTH_BYTES;
    out.resize(body + block::get_maximum_output_size(message.len()), 0);
    let packed = match block::compress_into(message, &mut out[body..]) {
        Ok(packed) if packed + LENGTH_BYTES < message.len() => packed,
        _ => {
            out.truncate(start);
            return false;
        }
    };
    out.truncate(body + packed);
    let mut head = &mut out[start..body];
    head.put_u32(length_u32(LENGTH_BYTES + packed));
    head.put_u8(FLAG_LZ4);
    head.put_u32(length_u32(message.len()));
    true
}

/// Takes the next message off the front of `buffer`; `None` if it is not whole yet.
///
/// After an error the buffer is of no more use: the stream has lost its frames.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(mut head) = buffer.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    let length = head.get_u32() as usize;
    let flags = head.get_u8();
    check_length(length)?;
    if flags & !FLAG_LZ4 != 0 {
        return Err(FrameError::Flags { flags });
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let body = buffer.split_to(length).freeze();
    if flags == FLAG_LZ4 {
        decompress(body).map(Some)
    } else {
        Ok(Some(body))
    }
}

fn decompress(mut body: Bytes) -> Result<Bytes, FrameError> {
    if body.len() < LENGTH_BYTES {
        return Err(FrameError::Compressed { claimed: 0 });
    }
    let claimed = body.get_u32() as usize;
    check_length(claimed)?;
    if claimed > body.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(FrameError::Compressed { claimed });
    }
    let mut message = vec![0; claimed];
    match block::decompress_into(&body, &mut message) {
        Ok(written) if written == claimed => Ok(message.into()),
        _ => Err(FrameError::Compressed { claimed }),
    }
}

pub(crate) fn check_length(bytes: usize) -> Result<(), FrameError> {
    if bytes > MESSAGE_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes });
    }
    Ok(())
}

fn length_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a checked length is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn encoded(message: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(message, &mut out).unwrap();
        out
    }

    fn frame(flags: u8, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(body.len()).unwrap());
        out.put_u8(flags);
        out.put_slice(body);
        out
    }

    #[test]
    fn repetition_is_compressed_and_noise_is_not() {
        let flat = encoded(&[7; 4096]);
        assert_eq!(flat[4], FLAG_LZ4);
        assert!(flat.len() < 100, "{} bytes", flat.len());
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(4096)
        .collect();
        assert_eq!(encoded(&noise).len(), HEADER_BYTES + noise.len());
        assert_eq!(encoded(&[7; COMPRESS_BYTES_MIN - 1])[4], 0);
    }

    #[test]
    fn the_largest_message_passes_and_one_byte_more_does_not() {
        let mut largest = vec![1; MESSAGE_BYTES_MAX];
        let mut wire = encoded(&largest);
        assert_eq!(decode(&mut wire).unwrap().unwrap(), largest);
        largest.push(1);
        let refused = encode(&largest, &mut BytesMut::new());
        assert!(matches!(refused, Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn an_oversize_claim_is_refused_before_the_body_is_there() {
        let mut wire = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0][..]);
        assert!(matches!(
            decode(&mut wire),
            Err(FrameError::TooLarge { .. })
        ));
    }

    #[test]
    fn unknown_flags_are_refused() {
        let refused = decode(&mut frame(2, b"x"));
        assert_eq!(refused, Err(FrameError::Flags { flags: 2 }));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut body = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes().to_vec();
        body.extend([0; 1024]);
        assert!(matches!(
            decode(&mut frame(FLAG_LZ4, &body)),
            Err(FrameError::TooLarge { .. })
        ));
        let mut body = 1_000_000_u32.to_be_bytes().to_vec();
        body.extend([0; 16]);
        assert!(matches!(
            decode(&mut frame(FLAG_LZ4, &body)),
            Err(FrameError::Compressed { claimed: 1_000_000 })
        ));
    }

    #[test]
    fn a_body_that_unpacks_to_less_or_more_than_announced_is_refused() {
        let packed = block::compress(&[5; 1000]);
        for claimed in [999_u32, 1001] {
            let mut body = claimed.to_be_bytes().to_vec();
            body.extend(&packed);
            assert!(matches!(
                decode(&mut frame(FLAG_LZ4, &body)),
                Err(FrameError::Compressed { .. })
            ));
        }
    }

    /// Half the messages compress well, half do not.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..3000),
            (any::<u8>(), 0..100_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_whole_however_the_wire_cuts_them(
            messages in vec(message(), 0..8),
            step in 1..2000_usize,
        ) {
            let mut wire = BytesMut::new();
            for message in &messages {
                encode(message, &mut wire).unwrap();
            }
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for chunk in wire.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(message) = decode(&mut buffer).unwrap() {
                    got.push(message.to_vec());
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn random_bytes_never_panic(noise in vec(any::<u8>(), 0..4000)) {
            let mut buffer = BytesMut::from(&noise[..]);
            while let Ok(Some(message)) = decode(&mut buffer) {
                prop_assert!(message.len() <= MESSAGE_BYTES_MAX);
            }
        }

        #[test]
        fn random_compressed_bodies_never_panic(body in vec(any::<u8>(), 0..600), claimed in 0..100_000_u32) {
            let mut whole = claimed.to_be_bytes().to_vec();
            whole.extend(&body);
            if let Ok(Some(message)) = decode(&mut frame(FLAG_LZ4, &whole)) {
                prop_assert_eq!(message.len(), claimed as usize);
            }
        }
    }
}
