//! What stands between a region and its server: passes everything on, until it is told to hold
//! something back.
//!
//! - [`Gate::hold_capture`]: what the server commits stays unknown to the region, which goes on
//!   writing into it. So a local write and a projection meet as they do under load, each time.
//! - [`Gate::hold_confirmations`]: the server doesn't learn what the region has on disk.
//! - [`Gate::swallow_replies_to_commits`]: the server commits what the region wrote, and the region
//!   never hears so.
//! - [`Gate::swallow_commits`]: the server never hears of the end of what the region writes, as when
//!   that is frozen or its machine has gone.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Gate {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    holds_capture: AtomicBool,
    holds_confirmations: AtomicBool,
    swallows_replies: AtomicBool,
    swallows_commits: AtomicBool,
    /// A commit went by whose reply was swallowed, or was swallowed itself.
    has_swallowed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// What is known of one connection.
#[derive(Default)]
struct Known {
    is_capture: AtomicBool,
    is_deaf: AtomicBool,
}

impl Gate {
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_cut.load(SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(target) {
                    join(&shared, &client, &server);
                }
            }
        });
        Self { address, state }
    }

    /// Ends what is connected and lets nobody connect.
    pub fn cut(&self) {
        self.state.is_cut.store(true, SeqCst);
        self.state.end_all();
    }

    /// Lets everything pass again. What was swallowed stays so.
    pub fn open(&self) {
        let state = &self.state;
        state.swallows_replies.store(false, SeqCst);
        state.swallows_commits.store(false, SeqCst);
        state.holds_confirmations.store(false, SeqCst);
        state.holds_capture.store(false, SeqCst);
        state.is_cut.store(false, SeqCst);
        // Whoever waits for a reply that was swallowed waits for ever.
        if state.has_swallowed.swap(false, SeqCst) {
            state.end_all();
        }
    }

    pub fn hold_capture(&self) {
        self.state.holds_capture.store(true, SeqCst);
    }

    pub fn hold_confirmations(&self) {
        self.state.holds_confirmations.store(true, SeqCst);
    }

    pub fn swallow_replies_to_commits(&self) {
        self.state.swallows_replies.store(true, SeqCst);
    }

    pub fn swallow_commits(&self) {
        self.state.swallows_commits.store(true, SeqCst);
    }

    /// Whether a commit, or the reply to one, has been swallowed.
    pub fn has_swallowed(&self) -> bool {
        self.state.has_swallowed.load(SeqCst)
    }
}

fn join(state: &Arc<State>, client: &TcpStream, server: &TcpStream) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let mut open = state.open.lock().expect("no panic");
    open.push(copy(client));
    open.push(copy(server));
    let known = Arc::new(Known::default());
    let (asks, replies) = ((copy(client), copy(server)), (copy(server), copy(client)));
    let (shared, about) = (state.clone(), known.clone());
    std::thread::spawn(move || pump(asks, |bytes| shared.ask(&about, bytes)));
    let shared = state.clone();
    std::thread::spawn(move || pump(replies, |bytes| shared.reply(&known, bytes)));
}

impl State {
    fn end_all(&self) {
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether what the region asks goes on to the server.
    fn ask(&self, known: &Known, bytes: &[u8]) -> bool {
        if has(bytes, b"START_REPLICATION") {
            known.is_capture.store(true, SeqCst);
        } else if known.is_capture.load(SeqCst) {
            wait_while(&self.holds_confirmations);
        } else if has(bytes, b"COMMIT;") && self.swallows_commits.load(SeqCst) {
            self.has_swallowed.store(true, SeqCst);
            return false;
        } else if has(bytes, b"COMMIT;") && self.swallows_replies.load(SeqCst) {
            known.is_deaf.store(true, SeqCst);
        }
        true
    }

    /// Whether what the server replies goes on to the region.
    fn reply(&self, known: &Known, _: &[u8]) -> bool {
        if known.is_capture.load(SeqCst) {
            wait_while(&self.holds_capture);
        }
        if known.is_deaf.load(SeqCst) {
            self.has_swallowed.store(true, SeqCst);
            if !self.swallows_replies.load(SeqCst) {
                // Opened just before: nobody else ends what waits for this reply.
                self.end_all();
            }
            return false;
        }
        true
    }
}

fn wait_while(flag: &AtomicBool) {
    while flag.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn pump((mut from, mut to): (TcpStream, TcpStream), passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if passes(&buffer[..read]) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
