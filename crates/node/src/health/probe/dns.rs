//! A name server that has an IPv4 address for a name (RFC 1035 §4).

use super::{Outcome, plain};
use meridian_topology::Address;
use tokio::net::{UdpSocket, lookup_host};

pub(super) async fn probe(server: &Address, name: &str) -> Outcome {
    let failed = |error: std::io::Error| format!("{server} can't be asked: {}", plain(&error));
    let mut found = lookup_host(server.to_string()).await.map_err(failed)?;
    let to = found
        .next()
        .ok_or_else(|| format!("{server} can't be asked: the name has no address"))?;
    let own = match to.is_ipv4() {
        true => "0.0.0.0:0",
        false => "[::]:0",
    };
    let socket = UdpSocket::bind(own).await.map_err(failed)?;
    socket.connect(to).await.map_err(failed)?;
    let id = fastrand::u16(..);
    socket.send(&question(id, name)).await.map_err(failed)?;
    let mut packet = [0; 1232];
    loop {
        let length = socket.recv(&mut packet).await.map_err(failed)?;
        if let Some(outcome) = judge(&packet[..length], id, name) {
            return outcome;
        }
    }
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut question = id.to_be_bytes().to_vec();
    // Recursion is desired; one question.
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        // The topology took no longer labels than 63 octets.
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    // The root, type A, class IN.
    question.extend([0, 0, 1, 0, 1]);
    question
}

/// `None` for what answers another question.
fn judge(packet: &[u8], id: u16, name: &str) -> Option<Outcome> {
    let header: &[u8; 12] = packet.first_chunk()?;
    let is_answer = header[2] & 0x80 != 0;
    if header[..2] != id.to_be_bytes() || !is_answer {
        return None;
    }
    let records = u16::from_be_bytes([header[6], header[7]]);
    Some(match header[3] & 0xf {
        0 if records > 0 => Ok(()),
        0 => Err(format!("{name} has no address")),
        2 => Err(format!("{name}: the server failed (SERVFAIL)")),
        3 => Err(format!("{name}: there is no such name")),
        5 => Err(format!("{name}: the server refuses to answer (REFUSED)")),
        code => Err(format!("{name}: the server answers with code {code}")),
    })
}
