//! `docs/operate/lost-region.md`, typed as it stands there. Beside it every name server that is left is
//! asked over and over for clients of the lost region: no answer may ever be empty.

use super::ask::{A, Client, question};
use super::support::{eventually, meridian, text};
use super::system::System;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PAGE: &str = "../../docs/operate/lost-region.md";
const NAME: &str = "app.global.meridian.test";
/// The machine may be busy; what was measured is printed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the page and what is seen then.
#[derive(Debug)]
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps() -> Vec<Step> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(page).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => steps.last_mut().unwrap().output.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Asks for one client over and over, and remembers when each region was named first and last.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    answers: u64,
    empty: u64,
    last_named: BTreeMap<Ipv4Addr, Instant>,
}

impl Watch {
    fn begin(server: SocketAddr, network: [u8; 3]) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let thread = thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                let question = question(NAME, A, Some(network));
                let client = Client::of(server);
                while !stop.load(Ordering::Relaxed) {
                    client.send(&question);
                    let Some(answer) = client.receive(Duration::from_secs(1)) else {
                        continue;
                    };
                    let mut seen = seen.lock().unwrap();
                    seen.answers += 1;
                    seen.empty += u64::from(answer.addresses.is_empty() || answer.rcode != 0);
                    for address in answer.addresses {
                        seen.last_named.insert(address, Instant::now());
                    }
                    drop(seen);
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Self {
            stop,
            seen,
            thread: Some(thread),
        }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A region started by hand.
struct Returned(Child);

impl Drop for Returned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Types a question of the page until it is answered as there.
fn dig(system: &System, words: &[&str], expected: &[String]) {
    let port: u16 = words[3].parse().unwrap();
    let index = (port - 7002) / 10;
    let subnet = words[5].strip_prefix("+subnet=").unwrap();
    let address: Ipv4Addr = subnet.split('/').next().unwrap().parse().unwrap();
    let [a, b, c, _] = address.octets();
    let expected: Vec<Ipv4Addr> = expected.iter().map(|line| line.parse().unwrap()).collect();
    eventually(&format!("{words:?} says {expected:?}"), PATIENCE, || {
        let client = Client::of(system.dns(index));
        client.send(&question(words[4], A, Some([a, b, c])));
        let answer = client.receive(Duration::from_secs(1))?;
        (answer.addresses == expected).then_some(())
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "what was measured")]
fn clients_of_a_lost_region_go_to_the_next_and_come_back() {
    let steps = steps();
    assert!(steps.len() >= 10, "{steps:?}");
    let arguments = [
        "--wan",
        "real",
        "--health",
        "fast",
        "--no-restart",
        "--allow-faults",
    ];
    let system = System::start(26_480, None, &arguments);
    let lost = Ipv4Addr::new(127, 0, 1, 2);
    let mut watches = Vec::new();
    let mut killed_at = None;
    let mut returned = None;
    for step in &steps {
        let words: Vec<_> = step.command.split_whitespace().collect();
        match words[0] {
            "dig" => dig(&system, &words, &step.output),
            "meridian" if words[1] == "faults" => {
                watches = [0, 2]
                    .map(|server| Watch::begin(system.dns(server), [2, 0, 0]))
                    .into();
                eventually("answers before", PATIENCE, || {
                    watches.iter().all(|it| it.seen().answers > 0).then_some(())
                });
                let output = system.run(&words[1..]);
                assert!(output.status.success(), "{}", text(&output));
                killed_at = Some(Instant::now());
            }
            "meridian" => {
                let named_last = watches
                    .iter()
                    .filter_map(|it| it.seen().last_named.get(&lost).copied());
                let named_last = named_last.max().unwrap();
                let killed_at = killed_at.unwrap();
                eprintln!(
                    "no answer named the lost region after {:.2} s",
                    named_last
                        .saturating_duration_since(killed_at)
                        .as_secs_f64()
                );
                let arguments: Vec<_> = words[1..words.len() - 1]
                    .iter()
                    .map(|word| word.replace(".meridian/", "data/"))
                    .collect();
                let mut command = meridian(system.path());
                command.args(&arguments).stdin(Stdio::null());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                returned = Some((Returned(command.spawn().unwrap()), Instant::now()));
            }
            other => panic!("the page has a command that this test doesn't know: {other}"),
        }
    }
    let (_returned, since) = returned.expect("the page lets the region return");
    eprintln!(
        "it had all of its clients again after {:.1} s",
        since.elapsed().as_secs_f64()
    );
    for watch in &watches {
        let seen = watch.seen();
        assert_eq!(seen.empty, 0, "{seen:?}");
        assert!(seen.answers > 10, "{seen:?}");
    }
}
