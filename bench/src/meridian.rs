//! A client of a region's API: rows, checksums, conflicts. One connection, one request outstanding.

use crate::http::{HttpClient, HttpError, Reply};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use meridian_model::Version;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;

/// Why a region did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The region refused.
    #[error("the region replied {status} to {request}: {body}")]
    Refused {
        /// The method and path.
        request: String,
        /// The reply's status.
        status: StatusCode,
        /// The reply's body.
        body: String,
    },
    /// The reply lacks something or isn't what the API gives.
    #[error("the region's reply to {request} has no valid {what}: {found}")]
    Malformed {
        /// The method and path.
        request: String,
        /// What is missing or invalid.
        what: &'static str,
        /// What was there.
        found: String,
    },
}

/// A row as a region shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When and where it was written.
    pub version: Version,
    /// The document's bytes.
    pub document: Bytes,
}

/// What two converged regions agree on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Checksum {
    /// How many rows.
    pub rows: u64,
    /// The checksum over all of them, as the API writes it.
    pub checksum: Value,
}

/// A connection to a region's API.
pub struct MeridianClient {
    http: HttpClient,
    table: String,
}

impl MeridianClient {
    /// Connects, to work on `table`.
    ///
    /// # Errors
    /// [`ApiError::Http`].
    pub async fn connect(api: SocketAddr, table: &str) -> Result<Self, ApiError> {
        Ok(Self {
            http: HttpClient::connect(api).await?,
            table: table.to_owned(),
        })
    }

    /// Writes a row and gives its version.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn put(&mut self, key: &str, document: Bytes) -> Result<Version, ApiError> {
        let path = self.row_path(key);
        let reply = self.http.put(&path, document).await?;
        match reply.status {
            StatusCode::OK | StatusCode::CREATED => version(&reply, "PUT", &path),
            _ => Err(refused(&reply, "PUT", &path)),
        }
    }

    /// Deletes a row, there or not; gives the delete's version, none where it came to nothing. A
    /// transaction of this one operation, because the reply to `DELETE` tells no version.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&mut self, key: &str) -> Result<Option<Version>, ApiError> {
        const PATH: &str = "/v1/transactions";
        let operation = json!({"op": "delete", "table": self.table, "key": key});
        let body = json!({"operations": [operation]}).to_string();
        let reply = self.http.send(Method::POST, PATH, body.into()).await?;
        if reply.status != StatusCode::OK {
            return Err(refused(&reply, "POST", PATH));
        }
        let invalid = || malformed("POST", PATH, "version", &reply.body);
        let outcome: Value = serde_json::from_slice(&reply.body).map_err(|_| invalid())?;
        match outcome.get("version") {
            Some(Value::Null) => Ok(None),
            Some(Value::String(version)) => version.parse().map(Some).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }

    /// Reads a row; none is not there.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn row(&mut self, key: &str) -> Result<Option<Row>, ApiError> {
        let path = self.row_path(key);
        let reply = self.http.get(&path).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(Row {
                version: version(&reply, "GET", &path)?,
                document: reply.body,
            })),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(&reply, "GET", &path)),
        }
    }

    /// The table's checksum; a table that nobody has written to has no rows.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn checksum(&mut self) -> Result<Checksum, ApiError> {
        let path = format!("/v1/tables/{}/checksum", encode(&self.table));
        let body = self.read(&path).await?;
        serde_json::from_slice(&body).map_err(|_| malformed("GET", &path, "checksum", &body))
    }

    /// A JSON resource of the API.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn json(&mut self, path: &str) -> Result<Value, ApiError> {
        let body = self.read(path).await?;
        serde_json::from_slice(&body).map_err(|_| malformed("GET", path, "JSON", &body))
    }

    /// How many conflicts the region has resolved, ever.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn conflicts(&mut self) -> Result<u64, ApiError> {
        const PATH: &str = "/v1/conflicts?limit=1";
        let reply = self.json(PATH).await?;
        let missing = || malformed("GET", PATH, "total", reply.to_string().as_bytes());
        reply["total"].as_u64().ok_or_else(missing)
    }

    async fn read(&mut self, path: &str) -> Result<Bytes, ApiError> {
        let reply = self.http.get(path).await?;
        if reply.status != StatusCode::OK {
            return Err(refused(&reply, "GET", path));
        }
        Ok(reply.body)
    }

    fn row_path(&self, key: &str) -> String {
        format!("{}/{}", rows_path(&self.table), encode(key))
    }
}

/// The path under which a table's rows are.
#[must_use]
pub fn rows_path(table: &str) -> String {
    format!("/v1/tables/{}/rows", encode(table))
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes all that is written to it");
        }
    }
    encoded
}

fn version(reply: &Reply, method: &str, path: &str) -> Result<Version, ApiError> {
    let etag = reply.etag().unwrap_or_default();
    etag.parse()
        .map_err(|_| malformed(method, path, "version in its ETag", etag.as_bytes()))
}

fn malformed(method: &str, path: &str, what: &'static str, found: &[u8]) -> ApiError {
    ApiError::Malformed {
        request: format!("{method} {path}"),
        what,
        found: String::from_utf8_lossy(&found[..found.len().min(200)]).into_owned(),
    }
}

fn refused(reply: &Reply, method: &str, path: &str) -> ApiError {
    ApiError::Refused {
        request: format!("{method} {path}"),
        status: reply.status,
        body: reply.text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_characters_become_one_path_segment() {
        assert_eq!(encode("2013-1-1-UA_1.5~"), "2013-1-1-UA_1.5~");
        assert_eq!(encode("a/b?c d%é"), "a%2Fb%3Fc%20d%25%C3%A9");
    }
}
