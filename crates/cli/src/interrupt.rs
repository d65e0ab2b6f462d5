//! Ctrl-C and SIGTERM for work on threads: the first asks, the second ends the process at once.

use crate::error::{CliError, CliResult, Exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the person wants an end.
#[derive(Debug)]
pub struct Interrupts {
    came: Arc<AtomicBool>,
}

impl Interrupts {
    /// Whether one came.
    pub fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }
}

/// Listens from now on, until the process ends.
pub fn listen() -> CliResult<Interrupts> {
    let failed = |error: std::io::Error| CliError::failure("listen for signals").because(&error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        (terminate, interrupt)
    };
    let came = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&came);
    let watch = move || {
        runtime.block_on(async {
            either(&mut terminate, &mut interrupt).await;
            seen.store(true, Ordering::SeqCst);
            either(&mut terminate, &mut interrupt).await;
        });
        std::process::exit(Exit::Interrupted as i32);
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .map_err(failed)?;
    Ok(Interrupts { came })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
