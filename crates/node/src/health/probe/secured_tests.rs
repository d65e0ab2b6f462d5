//! Probes over TLS, with a password, and of programs that don't end: against real listeners.

use super::tests::judges_status_and_body;
use super::{Prober, What};
use meridian_topology::{Address, HttpProbe, Password};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nis ready";
const DAY: Duration = Duration::from_hours(24);

fn prober(what: What) -> Prober {
    Prober::new("test".to_owned(), what, PATIENCE)
}

/// An authority, whose certificate is in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A listener that answers over TLS with a certificate for this name, good for so long from
    /// yesterday on.
    async fn serves(&self, name: &str, good_for: Duration) -> u16 {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - 10 * DAY).into();
        params.not_after = (SystemTime::now() - DAY + good_for).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that doesn't trust the certificate goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(ANSWER).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    /// A probe that trusts this authority.
    fn probe(&self, port: u16) -> HttpProbe {
        HttpProbe {
            url: format!("https://localhost:{port}/health"),
            statuses: Vec::new(),
            body: None,
            root_certificates: Some(self.file()),
            certificate_days_min: 0,
        }
    }
}

#[tokio::test]
async fn https_by_certificate_status_and_body() {
    let authority = Authority::new();
    let port = authority.serves("localhost", 90 * DAY).await;
    judges_status_and_body(authority.probe(port)).await;
}

#[tokio::test]
async fn https_of_nobody_who_is_trusted() {
    let authority = Authority::new();
    let refused = |probe: HttpProbe| async move {
        let error = prober(What::Http(probe)).probe().await.unwrap_err();
        assert!(error.starts_with("TLS failed: "), "{error}");
        error
    };
    let port = authority.serves("localhost", 90 * DAY).await;
    let stranger = Authority::new();
    let error = refused(HttpProbe {
        root_certificates: Some(stranger.file()),
        ..authority.probe(port)
    })
    .await;
    // The two authorities have one name.
    assert!(error.contains("BadSignature"), "{error}");
    let other_name = authority.serves("other.example.com", 90 * DAY).await;
    let error = refused(authority.probe(other_name)).await;
    assert!(error.contains("not valid for name"), "{error}");
    // Until yesterday.
    let expired = authority.serves("localhost", Duration::ZERO).await;
    let error = refused(authority.probe(expired)).await;
    assert!(error.contains("expired"), "{error}");
    let unreadable = HttpProbe {
        root_certificates: Some(Path::new("/nonexistent/roots.pem").to_owned()),
        ..authority.probe(port)
    };
    let error = prober(What::Http(unreadable)).probe().await.unwrap_err();
    assert!(
        error.contains("/nonexistent/roots.pem can't be read"),
        "{error}"
    );
}

#[tokio::test]
async fn https_for_as_many_days_as_are_wanted() {
    let authority = Authority::new();
    // Half a day more than twenty, so that the test may take its time.
    let port = authority.serves("localhost", 21 * DAY + DAY / 2).await;
    let wanting = |days: u32| {
        let probe = HttpProbe {
            certificate_days_min: days,
            ..authority.probe(port)
        };
        prober(What::Http(probe))
    };
    assert_eq!(wanting(0).probe().await, Ok(()));
    assert_eq!(wanting(20).probe().await, Ok(()));
    for days in [21, 30, 365] {
        let expected = format!("its certificate is good for 20 more days, and {days} are wanted");
        assert_eq!(wanting(days).probe().await, Err(expected));
    }
}

/// A Redis server of this test alone, with a password.
struct Redis {
    process: Child,
    address: Address,
    directory: TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// `None` where there is no `redis-server`.
    async fn start() -> Option<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut started = Self::launch()?;
            while started.process.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "redis-server doesn't answer");
                if TcpStream::connect(started.address.to_string())
                    .await
                    .is_ok()
                {
                    return Some(started);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Somebody else took the port.
            assert!(Instant::now() < deadline, "redis-server doesn't start");
        }
    }

    fn launch() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "right\n").unwrap();
        std::fs::write(directory.path().join("wrong"), "wrong\n").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--requirepass", "right", "--save", "", "--dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Self {
                process,
                address: Address::Ip(address),
                directory,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("redis-server can't be run: {error}"),
        }
    }

    fn prober(&self, password: Option<&str>) -> Prober {
        prober(What::Redis {
            address: self.address.clone(),
            password: password.map(|file| Password::File(self.directory.path().join(file))),
            is_primary: true,
        })
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
async fn redis_with_a_password() {
    let Some(redis) = Redis::start().await else {
        eprintln!("skipped: there is no redis-server");
        return;
    };
    assert_eq!(redis.prober(Some("password")).probe().await, Ok(()));
    let wrong = redis.prober(Some("wrong")).probe().await.unwrap_err();
    assert!(
        wrong.starts_with("AUTH was answered with: WRONGPASS"),
        "{wrong}"
    );
    let none = redis.prober(None).probe().await.unwrap_err();
    assert!(none.starts_with("PING was answered with: NOAUTH"), "{none}");
    let missing = redis.prober(Some("missing")).probe().await.unwrap_err();
    assert!(missing.contains("missing"), "{missing}");
}

/// The same without a server: what is sent, word for word.
#[tokio::test]
async fn a_password_goes_first_and_is_not_asked_for_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Ip(listener.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let prober = prober(What::Redis {
        address,
        password: Some(Password::File(file)),
        is_primary: false,
    });
    let expected = b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nROLE\r\n";
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; expected.len()];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(b"+OK\r\n+PONG\r\n").await.unwrap();
        asked
    });
    assert_eq!(prober.probe().await, Ok(()));
    assert_eq!(served.await.unwrap(), expected);
}

/// Whether a process is there and no mere entry that nobody has waited for.
fn is_running(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[tokio::test]
async fn a_command_that_does_not_end_is_given_up_and_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("process");
    let script = format!("echo $$ >{}; exec sleep 1000", file.display());
    let words = ["sh", "-c", &script].map(str::to_owned);
    let what = What::Command(words.to_vec());
    let prober = Prober::new("test".to_owned(), what, Duration::from_millis(300));
    let deadline = Instant::now() + PATIENCE;
    // On a busy machine the shell may not have come so far in its time.
    let process = loop {
        assert_eq!(
            prober.probe().await,
            Err("no answer within 300 ms".to_owned())
        );
        match std::fs::read_to_string(&file) {
            Ok(process) if process.ends_with('\n') => break process.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "the shell doesn't begin"),
        }
    };
    while is_running(&process) {
        assert!(Instant::now() < deadline, "{process} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
