//! As whom a verb connects to the servers.

use clap::Args;
use meridian_engine_postgres::server::{PasswordSource, ServerConfig, ServerError};
use std::path::PathBuf;

/// As whom: the tables' owner, where that isn't the role of the topology.
#[derive(Clone, Debug, Default, Args)]
pub struct Access {
    /// Connect as this role instead of the topology's: the owner of the tables and of what `prepare` made
    #[arg(long, value_name = "ROLE")]
    pub user: Option<String>,
    /// Where that role's password is
    #[arg(
        long,
        value_name = "FILE",
        requires = "user",
        conflicts_with = "password_env"
    )]
    pub password_file: Option<PathBuf>,
    /// The environment variable with that role's password
    #[arg(long, value_name = "NAME", requires = "user")]
    pub password_env: Option<String>,
}

impl Access {
    /// The server, asked by this role.
    pub fn of(&self, server: &ServerConfig) -> Result<ServerConfig, ServerError> {
        let Some(user) = &self.user else {
            return Ok(server.clone());
        };
        let file = self.password_file.clone().map(PasswordSource::File);
        let variable = || self.password_env.clone().map(PasswordSource::Environment);
        Ok(ServerConfig {
            password: file.or_else(variable),
            ..server.as_user(user)?
        })
    }
}
