//! A program that ends with 0. It is run without a shell and killed when it is given up.

use super::Outcome;
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What is kept of its errors.
const ERRORS_BYTES_MAX: u64 = 4096;

pub(super) async fn probe(words: &[String]) -> Outcome {
    let [program, arguments @ ..] = words else {
        return Err("no program is named".to_owned());
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("{program} can't be run: {error}"))?;
    let mut said = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        // What can't be read any more is no reason to call the service ill.
        let _ = (&mut errors)
            .take(ERRORS_BYTES_MAX)
            .read_to_end(&mut said)
            .await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    }
    let ended = child.wait().await;
    let ended = ended.map_err(|error| format!("{program} can't be waited for: {error}"))?;
    if ended.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    let how = match ended.code() {
        Some(code) => format!("it ended with {code}"),
        None => "it was killed".to_owned(),
    };
    Err(match last {
        Some(line) => format!("{how}: {}", line.trim()),
        None => how,
    })
}
