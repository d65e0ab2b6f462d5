//! RFC 7766: streams, over real sockets.

use crate::ask::{question, view};
use arc_swap::ArcSwap;
use domain::base::Message;
use domain::base::iana::Rtype;
use meridian_dns::CookieSecret;
use meridian_dns::server::{ServeError, Server, Settings};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Runs a server while the client, which blocks, does its part.
fn with_server(client: impl FnOnce(SocketAddr, &Server)) {
    let server = listening_on("127.0.0.1:0".parse().unwrap()).unwrap();
    client(server.addresses()[0], &server);
}

fn listening_on(address: SocketAddr) -> Result<Server, ServeError> {
    let settings = Settings {
        addresses: vec![address],
        threads: 2,
        answers_per_second_max: 0,
        limits_loopback: false,
        cookie_secret: CookieSecret::new([3; 16]),
    };
    let shared = Arc::new(ArcSwap::from_pointee(view(false)));
    Server::start(&settings, shared)
}

#[test]
fn section_6_one_port_is_had_for_both_families() {
    let [v4, v6] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    if UdpSocket::bind((v6, 0)).is_err() {
        return; // There is no IPv6 here.
    }
    // Somebody else may have the port in the other family.
    let both = (0..8).any(|_| {
        let server = listening_on(SocketAddr::new(v4, 0)).unwrap();
        let port = server.addresses()[0].port();
        listening_on(SocketAddr::new(v6, port)).is_ok()
    });
    assert!(both);
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn framed(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u16).to_be_bytes(), octets].concat()
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).unwrap();
    octets
}

fn answers(octets: Vec<u8>) -> usize {
    let message = Message::from_octets(octets).unwrap();
    usize::from(message.header_counts().ancount())
}

#[test]
fn section_6_2_1_a_connection_takes_many_questions_without_waiting() {
    with_server(|address, server| {
        let mut stream = connect(address);
        let one = framed(&question("big.meridian.test", Rtype::TXT, None));
        stream.write_all(&one.repeat(20)).unwrap();
        for _ in 0..20 {
            assert_eq!(answers(receive(&mut stream)), 41);
        }
        assert_eq!(server.counts().tcp, 20);
    });
}

#[test]
fn section_8_a_message_in_pieces_is_put_together() {
    with_server(|address, _| {
        let mut stream = connect(address);
        stream.set_nodelay(true).unwrap();
        for octet in framed(&question("ns1.meridian.test", Rtype::A, None)) {
            stream.write_all(&[octet]).unwrap();
        }
        assert_eq!(answers(receive(&mut stream)), 1);
    });
}

#[test]
fn section_6_2_2_an_address_has_so_many_connections_and_others_go_on() {
    with_server(|address, _| {
        let held: Vec<TcpStream> = (0..80).map(|_| connect(address)).collect();
        let ask = framed(&question("ns1.meridian.test", Rtype::A, None));
        let answered = held.into_iter().filter_map(|mut stream| {
            stream.write_all(&ask).ok()?;
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()
        });
        assert_eq!(answered.count(), 64);
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        datagrams
            .send_to(&question("ns1.meridian.test", Rtype::A, None), address)
            .unwrap();
        let mut answer = [0; 512];
        let (length, from) = datagrams.recv_from(&mut answer).unwrap();
        assert_eq!(from, address);
        assert_eq!(answers(answer[..length].to_vec()), 1);
    });
}

#[test]
fn datagrams_are_answered_by_the_thousand_and_counted() {
    with_server(|address, server| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let ask = question("app.global.meridian.test", Rtype::A, None);
        let mut answer = [0; 512];
        for _ in 0..50 {
            for _ in 0..20 {
                socket.send_to(&ask, address).unwrap();
            }
            for _ in 0..20 {
                let length = socket.recv(&mut answer).unwrap();
                assert_eq!(answers(answer[..length].to_vec()), 1);
            }
        }
        assert_eq!((server.counts().udp, server.counts().noerror), (1000, 1000));
        assert_eq!(server.counts().unsent, 0);
    });
}
