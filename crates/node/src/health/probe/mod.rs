//! Probes beside the link: one question each, with a limit, and what is wrong in words for a person.

mod command;
mod dns;
mod http;
mod postgres;
mod redis;
#[cfg(test)]
mod secured_tests;

use meridian_engine_postgres::server::ServerConfig;
use meridian_topology::{Address, HttpProbe, Password};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// One service's probe.
#[derive(Debug)]
pub(super) struct Prober {
    /// Where it looks, as a person would read it.
    pub(super) endpoint: String,
    what: What,
    limit: Duration,
    http: http::Tls,
    postgres: postgres::Session,
}

/// What is asked, and which answer is right.
#[derive(Debug)]
pub(super) enum What {
    Http(HttpProbe),
    Tcp(Address),
    Postgres {
        server: ServerConfig,
        accepts_writes: bool,
    },
    Redis {
        address: Address,
        password: Option<Password>,
        is_primary: bool,
    },
    Dns {
        server: Address,
        name: String,
    },
    Command(Vec<String>),
}

/// What is wrong, for a person; nothing if the answer was right.
type Outcome = Result<(), String>;

impl Prober {
    pub(super) fn new(endpoint: String, what: What, limit: Duration) -> Self {
        Self {
            endpoint,
            what,
            limit,
            http: http::Tls::default(),
            postgres: postgres::Session::default(),
        }
    }

    /// Probes once.
    pub(super) async fn probe(&self) -> Outcome {
        let limit = self.limit;
        let gave_up = || format!("no answer within {} ms", limit.as_millis());
        let answered = tokio::time::timeout(limit, self.ask()).await;
        answered.unwrap_or_else(|_| Err(gave_up()))
    }

    async fn ask(&self) -> Outcome {
        match &self.what {
            What::Http(probe) => http::probe(probe, &self.http).await,
            What::Tcp(address) => connect(address).await.map(drop),
            What::Postgres {
                server,
                accepts_writes,
            } => self.postgres.probe(server, *accepts_writes).await,
            What::Redis {
                address,
                password,
                is_primary,
            } => redis::probe(address, password.as_ref(), *is_primary).await,
            What::Dns { server, name } => dns::probe(server, name).await,
            What::Command(words) => command::probe(words).await,
        }
    }
}

/// A connection, or why there is none.
async fn connect(address: &Address) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(address.to_string()).await;
    connected.map_err(|error| format!("{address} can't be connected to: {}", plain(&error)))
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UdpSocket};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn prober(what: What) -> Prober {
        Prober::new("test".to_owned(), what, PATIENCE)
    }

    fn at(address: std::net::SocketAddr) -> Address {
        Address::Ip(address)
    }

    async fn listen() -> (TcpListener, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = at(listener.local_addr().unwrap());
        (listener, address)
    }

    /// Answers each connection's first words with these bytes, and closes it.
    async fn answering(answer: &'static [u8]) -> Address {
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer).await;
            }
        });
        address
    }

    async fn refusing() -> Address {
        let (listener, address) = listen().await;
        drop(listener);
        address
    }

    #[tokio::test]
    async fn tcp() {
        let (_listener, address) = listen().await;
        assert_eq!(prober(What::Tcp(address)).probe().await, Ok(()));
        let nobody = refusing().await;
        let expected = format!("{nobody} can't be connected to: nobody listens there");
        assert_eq!(prober(What::Tcp(nobody)).probe().await, Err(expected));
    }

    #[tokio::test]
    async fn who_is_silent_is_given_up() {
        let (_listener, address) = listen().await;
        let what = What::Redis {
            address,
            password: None,
            is_primary: true,
        };
        let prober = Prober::new("test".to_owned(), what, Duration::from_millis(20));
        assert_eq!(
            prober.probe().await,
            Err("no answer within 20 ms".to_owned())
        );
    }

    fn http(address: &Address) -> HttpProbe {
        HttpProbe {
            url: format!("http://{address}/health?deep=1"),
            statuses: Vec::new(),
            body: None,
            root_certificates: None,
            certificate_days_min: 0,
        }
    }

    /// Of a server that replies 200 and `is ready`.
    pub(super) async fn judges_status_and_body(good: HttpProbe) {
        assert_eq!(prober(What::Http(good.clone())).probe().await, Ok(()));
        let ready = HttpProbe {
            body: Some("ready".to_owned()),
            ..good.clone()
        };
        assert_eq!(prober(What::Http(ready)).probe().await, Ok(()));
        let other = HttpProbe {
            body: Some("fine".to_owned()),
            ..good.clone()
        };
        assert_eq!(
            prober(What::Http(other)).probe().await,
            Err("the body does not contain \"fine\"".to_owned())
        );
        let created = HttpProbe {
            statuses: vec![201],
            ..good
        };
        assert_eq!(
            prober(What::Http(created)).probe().await,
            Err("status 200, and 201 is wanted".to_owned())
        );
    }

    #[tokio::test]
    async fn http_by_status_and_body() {
        let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nis ready").await;
        let good = http(&address);
        judges_status_and_body(good).await;
        let broken = answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert_eq!(
            prober(What::Http(http(&broken))).probe().await,
            Err("status 503, and 200 to 299 is wanted".to_owned())
        );
        let nonsense = answering(b"SSH-2.0-OpenSSH\r\n").await;
        let error = prober(What::Http(http(&nonsense)))
            .probe()
            .await
            .unwrap_err();
        assert!(error.starts_with("no HTTP"), "{error}");
    }

    #[tokio::test]
    async fn redis_by_ping_and_role() {
        let probe = |address: &Address, is_primary| {
            prober(What::Redis {
                address: address.clone(),
                password: None,
                is_primary,
            })
        };
        let primary = answering(b"+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n").await;
        assert_eq!(probe(&primary, true).probe().await, Ok(()));
        let replica = answering(b"+PONG\r\n*5\r\n$5\r\nslave\r\n").await;
        assert_eq!(
            probe(&replica, true).probe().await,
            Err("it is a replica (slave), and a primary is wanted".to_owned())
        );
        assert_eq!(probe(&replica, false).probe().await, Ok(()));
        let locked = answering(b"-NOAUTH Authentication required.\r\n").await;
        assert_eq!(
            probe(&locked, false).probe().await,
            Err("PING was answered with: NOAUTH Authentication required.".to_owned())
        );
    }

    #[tokio::test]
    async fn dns_by_code_and_records() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = at(server.local_addr().unwrap());
        tokio::spawn(async move {
            let mut packet = [0; 512];
            // In turn: an address, no such name, and no records.
            for (code, records) in [(0, 1), (3, 0), (0, 0)] {
                let (length, from) = server.recv_from(&mut packet).await.unwrap();
                packet[2] |= 0x80;
                packet[3] = code;
                packet[7] = records;
                // Of another question first, which doesn't count.
                let mut other = packet;
                other[0] ^= 1;
                other[3] = 2;
                server.send_to(&other[..length], from).await.unwrap();
                server.send_to(&packet[..length], from).await.unwrap();
            }
        });
        let what = What::Dns {
            server: address,
            name: "storage.example.com".to_owned(),
        };
        let prober = prober(what);
        assert_eq!(prober.probe().await, Ok(()));
        assert_eq!(
            prober.probe().await,
            Err("storage.example.com: there is no such name".to_owned())
        );
        assert_eq!(
            prober.probe().await,
            Err("storage.example.com has no address".to_owned())
        );
    }

    #[tokio::test]
    async fn a_command_by_its_end() {
        let probe = |words: &[&str]| {
            prober(What::Command(
                words.iter().map(ToString::to_string).collect(),
            ))
        };
        assert_eq!(probe(&["true"]).probe().await, Ok(()));
        assert_eq!(
            probe(&["sh", "-c", "echo one >&2; echo no key >&2; exit 3"])
                .probe()
                .await,
            Err("it ended with 3: no key".to_owned())
        );
        assert_eq!(
            probe(&["/nonexistent/check"]).probe().await,
            Err(
                "/nonexistent/check can't be run: No such file or directory (os error 2)"
                    .to_owned()
            )
        );
    }
}
