//! A Redis or Valkey server that answers `PING`, and is a primary where that is wanted.

use super::{Outcome, connect, plain};
use meridian_engine_postgres::server::PasswordSource;
use meridian_topology::{Address, Password};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// No line of an answer to these commands is longer.
const LINE_BYTES_MAX: u64 = 1024;

pub(super) async fn probe(
    address: &Address,
    password: Option<&Password>,
    is_primary: bool,
) -> Outcome {
    let mut commands = Vec::new();
    if let Some(password) = password {
        let password = PasswordSource::from(password).read();
        let password = password.map_err(|error| error.to_string())?;
        commands.extend(command(&["AUTH", &password]));
    }
    commands.extend(command(&["PING"]));
    commands.extend(command(&["ROLE"]));
    let stream = connect(address).await?;
    let (read, mut write) = stream.into_split();
    let lost = |error| format!("{address} was lost: {}", plain(&error));
    write.write_all(&commands).await.map_err(lost)?;
    let mut read = BufReader::new(read);
    if password.is_some() {
        expect(&mut read, "AUTH", "+OK").await?;
    }
    expect(&mut read, "PING", "+PONG").await?;
    if !is_primary {
        return Ok(());
    }
    // An array whose first element is the role: its size, the role's length, the role.
    let size = line(&mut read).await?;
    if !size.starts_with('*') {
        return Err(unexpected("ROLE", &size));
    }
    line(&mut read).await?;
    match line(&mut read).await?.as_str() {
        "master" => Ok(()),
        role => Err(format!("it is a replica ({role}), and a primary is wanted")),
    }
}

/// A command in the protocol's form.
fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    command.into_bytes()
}

async fn expect(read: &mut (impl AsyncBufRead + Unpin), command: &str, expected: &str) -> Outcome {
    let line = line(read).await?;
    match line == expected {
        true => Ok(()),
        false => Err(unexpected(command, &line)),
    }
}

fn unexpected(command: &str, line: &str) -> String {
    let line = line.strip_prefix('-').unwrap_or(line);
    format!("{command} was answered with: {line}")
}

async fn line(read: &mut (impl AsyncBufRead + Unpin)) -> Result<String, String> {
    let mut line = String::new();
    let taken = read.take(LINE_BYTES_MAX).read_line(&mut line).await;
    match taken {
        Ok(0) => Err("the connection was closed".to_owned()),
        Ok(_) => Ok(line.trim_end().to_owned()),
        Err(error) => Err(format!("no Redis answers there: {}", plain(&error))),
    }
}
