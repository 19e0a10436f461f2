//! Between a client and a registry: passes bytes on, and stops or holds the answers when told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What happens to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// They pass.
    Pass,
    /// After so many bytes of all answers, nothing more comes; connections stay open.
    HoldAfter(u64),
    /// After so many bytes of all answers, connections are closed, and new ones are refused.
    CutAfter(u64),
}

/// A relay on loopback.
#[derive(Debug)]
pub struct Proxy {
    /// `127.0.0.1:PORT`
    pub host: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    rule: Rule,
    passed: u64,
    reached: bool,
    ended: bool,
    /// Both ends of all connections, to be shut down at the end.
    streams: Vec<TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts one in front of `host`, `ADDRESS:PORT`.
    pub fn start(host: &str, rule: Rule) -> Proxy {
        let target: SocketAddr = host.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let state = State { rule, passed: 0, reached: false, ended: false, streams: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, target, &of_acceptor));
        Proxy { host: own.to_string(), shared, acceptor: Some(acceptor) }
    }

    /// Waits until the rule's number of bytes has passed.
    pub fn wait_until_reached(&self) {
        let mut state = self.shared.lock();
        while !state.reached {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Another rule from now on; counting starts again.
    pub fn set(&self, rule: Rule) {
        let mut state = self.shared.lock();
        (state.rule, state.passed, state.reached) = (rule, 0, false);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ended = true;
            for stream in &state.streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.shared.changed.notify_all();
        }
        // Wakes the acceptor up.
        let _ = TcpStream::connect(&self.host);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    let mut relays = Vec::new();
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        {
            let state = shared.lock();
            if state.ended {
                break;
            }
            if matches!(state.rule, Rule::CutAfter(_)) && state.reached {
                continue;
            }
        }
        let Ok(server) = TcpStream::connect(target) else { continue };
        let both = [&client, &server].map(|stream| stream.try_clone().unwrap());
        shared.lock().streams.extend(both);
        let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let of_answers = Arc::clone(shared);
        relays.push(std::thread::spawn(move || relay(client, server, None)));
        relays.push(std::thread::spawn(move || relay(down, up, Some(&of_answers))));
    }
    for relay in relays {
        relay.join().unwrap();
    }
}

/// Copies from one to the other to the end.
fn relay(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let mut buffer = [0; 16 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Some(shared) = shared
            && !may_pass(shared, length)
        {
            break;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Counts bytes of an answer; waits while they are held. False: the connection ends.
fn may_pass(shared: &Shared, length: usize) -> bool {
    let mut state = shared.lock();
    state.passed += length as u64;
    loop {
        let limit = match state.rule {
            Rule::Pass => return !state.ended,
            Rule::HoldAfter(limit) | Rule::CutAfter(limit) => limit,
        };
        if state.ended {
            return false;
        }
        if state.passed <= limit {
            return true;
        }
        state.reached = true;
        shared.changed.notify_all();
        if matches!(state.rule, Rule::CutAfter(_)) {
            return false;
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
