//! Databases and roles in a cluster of one's own.

use super::cluster::{Cluster, SUPERUSER};
use super::error::LocalError;
use crate::catalog::quoted;
use crate::server::ServerConfig;
use tokio_postgres::{Client, NoTls};

impl Cluster {
    /// How `user` reaches `database`.
    #[must_use]
    pub fn server(&self, database: &str, user: &str) -> ServerConfig {
        ServerConfig {
            url: format!(
                "postgresql://{user}@127.0.0.1:{}/{database}?sslmode=disable",
                self.port()
            ),
            password: None,
            root_certificates: None,
        }
    }

    /// How the superuser reaches `database`.
    #[must_use]
    pub fn superuser(&self, database: &str) -> ServerConfig {
        self.server(database, SUPERUSER)
    }

    /// Makes a database, unless it is there, that `owner` owns, whose role is made first; says how
    /// that role reaches it. The role may log in and replicate, and is no superuser.
    ///
    /// # Errors
    /// [`LocalError::Sql`].
    pub async fn create_database_of(
        &self,
        database: &str,
        owner: &str,
    ) -> Result<ServerConfig, LocalError> {
        self.create_role(owner).await?;
        let client = self.connect("postgres", SUPERUSER).await?;
        let what = || format!("create the database {database}");
        let there = client
            .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&database])
            .await
            .map_err(|source| sql(what(), source))?;
        if there.is_none() {
            let statement = format!(
                "CREATE DATABASE {} OWNER {}",
                quoted(database),
                quoted(owner)
            );
            client
                .batch_execute(&statement)
                .await
                .map_err(|source| sql(what(), source))?;
        }
        Ok(self.server(database, owner))
    }

    /// Makes a database that the superuser owns, unless it is there; says how the superuser
    /// reaches it.
    ///
    /// # Errors
    /// [`LocalError::Sql`].
    pub async fn create_database(&self, database: &str) -> Result<ServerConfig, LocalError> {
        self.create_database_of(database, SUPERUSER).await
    }

    /// Makes a role, unless it is there, that may log in and replicate, and is no superuser.
    ///
    /// # Errors
    /// [`LocalError::Sql`].
    pub async fn create_role(&self, role: &str) -> Result<(), LocalError> {
        let client = self.connect("postgres", SUPERUSER).await?;
        let what = || format!("create the role {role}");
        let there = client
            .query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role])
            .await
            .map_err(|source| sql(what(), source))?;
        if there.is_some() {
            return Ok(());
        }
        let statement = format!("CREATE ROLE {} LOGIN REPLICATION NOSUPERUSER", quoted(role));
        client
            .batch_execute(&statement)
            .await
            .map_err(|source| sql(what(), source))
    }

    /// A connection; the server trusts whoever comes by loopback.
    ///
    /// # Errors
    /// [`LocalError::Sql`].
    pub async fn connect(&self, database: &str, user: &str) -> Result<Client, LocalError> {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port())
            .user(user)
            .dbname(database)
            .connect(NoTls)
            .await
            .map_err(|source| sql(format!("connect to the database {database}"), source))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a local server ended");
            }
        });
        Ok(client)
    }
}

fn sql(what: String, source: tokio_postgres::Error) -> LocalError {
    LocalError::Sql { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_temporary_cluster_takes_connections_and_its_role_is_no_superuser() {
        let cluster = Cluster::temporary().unwrap();
        let config = cluster.create_database_of("shop", "clerk").await.unwrap();
        assert_eq!(config, cluster.server("shop", "clerk"));
        assert_eq!(
            cluster.create_database_of("shop", "clerk").await.unwrap(),
            config
        );
        let client = cluster.connect("shop", "clerk").await.unwrap();
        let row = client
            .query_one(
                "SELECT rolsuper, rolreplication, current_setting('wal_level') \
                 FROM pg_roles WHERE rolname = current_user",
                &[],
            )
            .await
            .unwrap();
        assert!(!row.get::<_, bool>(0));
        assert!(row.get::<_, bool>(1));
        assert_eq!(row.get::<_, String>(2), "logical");
        let directory = cluster.directory().to_owned();
        drop(cluster);
        assert!(!directory.exists());
    }
}
