//! A PostgreSQL server that takes writes. The session is kept from probe to probe: a new one each time
//! would cost the server a process.

use super::Outcome;
use meridian_engine_postgres::server::{ServerConfig, connect};
use std::fmt;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A standby is in recovery; a primary may have been made read-only, which the session itself isn't.
const WRITABLE: &str = "SELECT pg_catalog.pg_is_in_recovery(), reset_val = 'on' \
    FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'";

/// The session, if there is one.
#[derive(Default)]
pub(super) struct Session(Mutex<Option<Client>>);

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(super) async fn probe(&self, server: &ServerConfig, accepts_writes: bool) -> Outcome {
        // Probes that overlap wait for each other, and those given up leave the session behind.
        let mut session = self.0.lock().await;
        let client = match session.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => connect(server, "probe")
                .await
                .map_err(|error| error.to_string())?,
        };
        let row = client.query_one(WRITABLE, &[]).await;
        let row = row.map_err(|error| match error.as_db_error() {
            Some(told) => told.message().to_owned(),
            None => "the connection was lost".to_owned(),
        })?;
        *session = Some(client);
        let (in_recovery, read_only): (bool, bool) = (row.get(0), row.get(1));
        match (accepts_writes, in_recovery, read_only) {
            (true, true, _) => Err("it is a standby, and takes no writes".to_owned()),
            (true, _, true) => Err("it is read-only, and takes no writes".to_owned()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_engine_postgres::local::{Cluster, Stop};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_takes_writes_and_one_that_is_gone() {
        let mut cluster = Cluster::temporary().unwrap();
        let server = cluster.superuser("postgres");
        let session = Session::default();
        assert_eq!(session.probe(&server, true).await, Ok(()));
        assert_eq!(
            session.probe(&server, true).await,
            Ok(()),
            "the same session again"
        );
        let read_only = "ALTER DATABASE postgres SET default_transaction_read_only = on";
        let client = connect(&server, "test").await.unwrap();
        client.batch_execute(read_only).await.unwrap();
        let anew = Session::default();
        assert_eq!(
            anew.probe(&server, true).await,
            Err("it is read-only, and takes no writes".to_owned())
        );
        assert_eq!(anew.probe(&server, false).await, Ok(()));
        cluster.stop(Stop::Fast);
        session.probe(&server, true).await.unwrap_err();
        let refused = session.probe(&server, true).await.unwrap_err();
        assert!(refused.contains("Connection refused"), "{refused}");
    }
}
