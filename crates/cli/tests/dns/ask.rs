//! A client of DNS, written by hand: what it reads was put together by somebody else.

use super::PATIENCE;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const SOA: u16 = 6;
pub const TXT: u16 = 16;
pub const NSEC: u16 = 47;
pub const ANY: u16 = 255;

/// A question's message.
pub fn question(name: &str, rtype: u16, subnet: Option<[u8; 3]>) -> Vec<u8> {
    // Recursion is desired, and to be told whether the answer is authentic (RFC 6840 §5.7): what a
    // validating resolver in between does.
    let mut octets = vec![0x12, 0x34, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets.extend(rtype.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0]);
    match subnet {
        None => octets.extend([0, 0]),
        Some([a, b, c]) => octets.extend([0, 11, 0, 8, 0, 7, 0, 1, 24, 0, a, b, c]),
    }
    octets
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub octets: Vec<u8>,
    pub rcode: u8,
    pub is_truncated: bool,
    /// Whether a resolver vouches for it.
    pub is_authentic: bool,
    pub count: u16,
    /// The addresses of the answer's A records.
    pub addresses: Vec<Ipv4Addr>,
}

/// The end of the name at this place.
fn after_name(octets: &[u8], mut at: usize) -> usize {
    loop {
        match octets[at] {
            0 => return at + 1,
            length if length >= 0xc0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}

pub fn read(octets: Vec<u8>) -> Answer {
    let number = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
    let count = number(6);
    let mut at = match number(4) {
        0 => 12,
        _ => after_name(&octets, 12) + 4,
    };
    let mut addresses = Vec::new();
    for _ in 0..count {
        at = after_name(&octets, at);
        let length = usize::from(number(at + 8));
        let data = &octets[at + 10..at + 10 + length];
        if number(at) == A {
            addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()));
        }
        at += 10 + length;
    }
    Answer {
        rcode: octets[3] & 15,
        is_truncated: octets[2] & 2 != 0,
        is_authentic: octets[3] & 32 != 0,
        count,
        addresses,
        octets,
    }
}

/// A socket that asks one server.
pub struct Client(UdpSocket);

impl Client {
    pub fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(server).unwrap();
        Self(socket)
    }

    pub fn send(&self, octets: &[u8]) {
        self.0.send(octets).unwrap();
    }

    /// The next answer, if one comes in this time.
    pub fn receive(&self, patience: Duration) -> Option<Answer> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut octets = vec![0; 65_535];
        let length = self.0.recv(&mut octets).ok()?;
        octets.truncate(length);
        Some(read(octets))
    }
}

/// Asks until there is an answer: a datagram may be lost where the machine is busy.
pub fn ask(server: SocketAddr, name: &str, rtype: u16, subnet: Option<[u8; 3]>) -> Answer {
    let question = question(name, rtype, subnet);
    for _ in 0..30 {
        let client = Client::of(server);
        client.send(&question);
        if let Some(answer) = client.receive(Duration::from_secs(2)) {
            return answer;
        }
    }
    panic!("{server} doesn't answer for {name}");
}

/// Asks over a connection.
pub fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = u16::try_from(question.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).unwrap();
    read(octets)
}
