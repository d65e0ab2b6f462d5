//! Frames of a link, arriving in pieces.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use meridian_link::frame;

fuzz_target!(|data: &[u8]| {
    let mut buffer = BytesMut::new();
    let pieces = data.chunks(1 + usize::from(data.first().copied().unwrap_or(0)));
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match frame::decode(&mut buffer) {
                Ok(Some(message)) => {
                    let mut again = BytesMut::new();
                    frame::encode(&message, &mut again).expect("it was not too large");
                    let read = frame::decode(&mut again).expect("it was just encoded");
                    assert_eq!(read, Some(message));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
