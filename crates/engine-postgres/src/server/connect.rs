//! Making a connection.

use super::{ServerConfig, ServerError, Trouble};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Connection, NoTls};

/// For how long a server may take until it has let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing moves is probed after this long, and after three probes without
/// an answer given up.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// What we sent and nobody acknowledged for so long ends the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(45);

/// How each of our sessions is set, whatever the server, the database or the role have as defaults:
/// - texts as the documents have them (`crate::document`);
/// - every name must be qualified, so that nobody can put a table or an operator in between, and
///   `format_type` qualifies what isn't in `pg_catalog`;
/// - a row that a policy hides is an error, never silently missing;
/// - a commit waits for the server's own disk, never for a synchronous standby, which may be gone;
/// - nothing that would end a session or a transaction of ours from outside.
const SESSION: &str = "\
    SET datestyle = 'ISO, YMD'; \
    SET intervalstyle = 'postgres'; \
    SET bytea_output = 'hex'; \
    SET extra_float_digits = 3; \
    SET timezone = 'UTC'; \
    SET xmloption = 'content'; \
    SET lc_monetary = 'C'; \
    SET quote_all_identifiers = off; \
    SET search_path = ''; \
    SET row_security = off; \
    SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; \
    SET synchronous_commit = local; \
    SET statement_timeout = 0; \
    SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; \
    SET idle_session_timeout = 0; \
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
    WHERE name = 'transaction_timeout'";

/// A connection, which is cut when this is dropped, whatever is under way.
#[derive(Debug)]
pub struct Held(JoinHandle<()>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A session with the server. `purpose` is what `pg_stat_activity` shows of it after `meridian`.
/// The session ends once the client is dropped and nothing is under way.
///
/// # Errors
/// [`ServerError`], which says what is wrong and whether it may pass.
pub async fn connect(server: &ServerConfig, purpose: &str) -> Result<Client, ServerError> {
    let (client, _driver) = open(server, purpose).await?;
    Ok(client)
}

/// The same, and the connection apart.
///
/// # Errors
/// As there.
pub async fn connect_held(
    server: &ServerConfig,
    purpose: &str,
) -> Result<(Client, Held), ServerError> {
    let (client, driver) = open(server, purpose).await?;
    Ok((client, Held(driver)))
}

async fn open(
    server: &ServerConfig,
    purpose: &str,
) -> Result<(Client, JoinHandle<()>), ServerError> {
    let target = server.target()?;
    let mut config = target.config();
    config
        .application_name(format!("meridian {purpose}"))
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX);
    if let Some(password) = &server.password {
        config.password(password.read()?);
    }
    let connecting = async {
        if target.is_encrypted {
            let (client, connection) = config.connect(server.tls()?).await?;
            Ok::<_, ServerError>((client, drive(connection)))
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, drive(connection)))
        }
    };
    let session = async {
        let (client, driver) = connecting.await?;
        client.batch_execute(SESSION).await?;
        Ok((client, driver))
    };
    tokio::time::timeout(CONNECT_TIMEOUT, session)
        .await
        .unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            Err(ServerError::new(Trouble::Unreachable, reason))
        })
        .map_err(|error| error.of(&target))
}

/// Lets a connection run until its client is gone.
fn drive<S, T>(connection: Connection<S, T>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // Whoever waits for an answer is told the same.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{Cluster, Stop};
    use crate::server::PasswordSource;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    async fn trouble(server: &ServerConfig) -> Trouble {
        let error = connect(server, "test").await.map(drop).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        error.trouble()
    }

    /// A server's certificate of an authority of its own, in `directory`; the authority's path.
    fn certify(cluster: &mut Cluster) -> std::path::PathBuf {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let authority = cluster.directory().join("authority.pem");
        std::fs::write(&authority, certificate.pem()).unwrap();
        let data = cluster.data();
        // PostgreSQL takes a key only of its own user, and one that nobody else can read.
        let secret = data.join("server.key");
        std::fs::write(data.join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(&secret, key.serialize_pem()).unwrap();
        let metadata = std::fs::metadata(&data).unwrap();
        std::os::unix::fs::chown(&secret, Some(metadata.uid()), Some(metadata.gid())).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        cluster.set_parameter("ssl", "on");
        authority
    }

    #[tokio::test]
    async fn nothing_ends_a_session_from_outside() {
        let cluster = Cluster::temporary().unwrap();
        let server = cluster.create_database("d").await.unwrap();
        let admin = cluster.connect("d", "postgres").await.unwrap();
        // `transaction_timeout` is there from version 17 on.
        let limits = "FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', \
            'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";
        let query = format!("SELECT format('ALTER DATABASE d SET %I = 7000', name) {limits}");
        for row in admin.query(&query, &[]).await.unwrap() {
            admin.batch_execute(row.get(0)).await.unwrap();
        }
        let client = connect(&server, "test").await.unwrap();
        let query = format!("SELECT name, setting {limits}");
        for row in client.query(&query, &[]).await.unwrap() {
            let (name, setting): (&str, &str) = (row.get(0), row.get(1));
            assert_eq!(setting, "0", "{name}");
        }
    }

    #[tokio::test]
    async fn an_encrypted_connection_is_to_the_server_that_was_meant() {
        let mut cluster = Cluster::temporary().unwrap();
        let authority = certify(&mut cluster);
        cluster.restart(Stop::Fast).unwrap();
        let named = |host: &str, root_certificates| ServerConfig {
            url: format!(
                "postgresql://postgres@{host}:{}/postgres?sslmode=verify-full",
                cluster.port()
            ),
            password: None,
            root_certificates,
        };
        let client = connect(&named("localhost", Some(authority.clone())), "test")
            .await
            .unwrap();
        let row = client
            .query_one(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
        // The certificate is another name's; nobody vouches for it; there are no certificates.
        for server in [
            named("127.0.0.1", Some(authority.clone())),
            named("localhost", None),
            named("localhost", Some(cluster.data().join("server.key"))),
        ] {
            assert_eq!(trouble(&server).await, Trouble::Tls, "{server:?}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_apart() {
        let mut cluster = Cluster::temporary().unwrap();
        let good = cluster.create_database_of("shop", "clerk").await.unwrap();
        let client = connect(&good, "test").await.unwrap();
        let row = client
            .query_one(
                "SELECT current_setting('application_name'), '2026-01-02'::timestamptz::text, \
                        1.1::float8::text, '\\x00ff'::bytea::text, '1 mon 2 d'::interval::text",
                &[],
            )
            .await
            .unwrap();
        let told: Vec<String> = (0..5).map(|column| row.get(column)).collect();
        assert_eq!(
            told,
            [
                "meridian test",
                "2026-01-02 00:00:00+00",
                "1.1",
                "\\x00ff",
                "1 mon 2 days"
            ]
        );

        assert_eq!(
            trouble(&cluster.server("nowhere", "clerk")).await,
            Trouble::NoDatabase
        );
        assert_eq!(
            trouble(&cluster.server("shop", "nobody-at-all")).await,
            Trouble::Authentication
        );
        let tls = ServerConfig {
            url: good.url.replace("disable", "verify-full"),
            ..good.clone()
        };
        assert_eq!(trouble(&tls).await, Trouble::Tls);
        let unreadable = ServerConfig {
            password: Some(PasswordSource::File("/nowhere/at/all".into())),
            ..good.clone()
        };
        assert_eq!(trouble(&unreadable).await, Trouble::Password);

        let refused = client
            .batch_execute("CREATE SCHEMA x; SELECT FROM pg_catalog.pg_authid")
            .await
            .map_err(ServerError::from)
            .unwrap_err();
        assert_eq!(refused.trouble(), Trouble::Permission, "{refused}");

        // With passwords asked for, none and a wrong one are both told; the right one does.
        let root = cluster.connect("shop", "postgres").await.unwrap();
        root.batch_execute("ALTER ROLE clerk PASSWORD 'hunter2'")
            .await
            .unwrap();
        let rules = cluster.data().join("pg_hba.conf");
        std::fs::write(rules, "host all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        cluster.restart(Stop::Fast).unwrap();
        let lost = client.batch_execute("SELECT").await.unwrap_err();
        assert!(ServerError::from(lost).is_transient());
        assert_eq!(trouble(&good).await, Trouble::Authentication);
        let file = cluster.directory().join("password");
        let with_password = ServerConfig {
            password: Some(PasswordSource::File(file.clone())),
            ..good.clone()
        };
        std::fs::write(&file, "wrong").unwrap();
        assert_eq!(trouble(&with_password).await, Trouble::Authentication);
        std::fs::write(&file, "hunter2\n").unwrap();
        connect(&with_password, "test").await.unwrap();

        cluster.stop(Stop::Fast);
        let error = connect(&good, "test").await.map(drop).unwrap_err();
        assert_eq!(error.trouble(), Trouble::Unreachable, "{error}");
        assert!(error.is_transient());
    }
}
