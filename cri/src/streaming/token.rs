//! Addresses that are good once.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an address is good.
const LIFETIME: Duration = Duration::from_secs(60);

/// Most addresses that wait for their client.
const LIMIT: usize = 1000;

/// Bytes of chance in a token: nobody guesses one within its minute.
const BYTES: usize = 16;

/// Too many addresses wait for their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{LIMIT} streaming addresses wait for their clients; the oldest goes after {} s", LIFETIME.as_secs())]
pub struct Full;

/// What tokens stand for.
pub(super) struct Tokens<T> {
    waiting: Mutex<HashMap<String, (Instant, T)>>,
}

impl<T> Tokens<T> {
    pub(super) fn new() -> Tokens<T> {
        Tokens { waiting: Mutex::new(HashMap::new()) }
    }

    /// A token for this, good from now on.
    pub(super) fn issue(&self, target: T) -> Result<String, Full> {
        let token = random();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (since, _)| since.elapsed() < LIFETIME);
        if waiting.len() >= LIMIT {
            return Err(Full);
        }
        waiting.insert(token.clone(), (Instant::now(), target));
        Ok(token)
    }

    /// What a token stands for; it stands for nothing afterwards.
    pub(super) fn take(&self, token: &str) -> Option<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, target) = waiting.remove(token)?;
        (since.elapsed() < LIFETIME).then_some(target)
    }
}

fn random() -> String {
    use base64::Engine;
    let mut bytes = [0; BYTES];
    let source = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.expect("/dev/urandom gives bytes on every Linux");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once() {
        let tokens = Tokens::new();
        let token = tokens.issue(1).unwrap();
        assert_ne!(token, tokens.issue(2).unwrap());
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
        assert_eq!((tokens.take(&token), tokens.take(&token), tokens.take("")), (Some(1), None, None));
    }

    #[test]
    fn so_many() {
        let tokens = Tokens::new();
        let first = tokens.issue(0).unwrap();
        for number in 1..LIMIT {
            tokens.issue(number).unwrap();
        }
        assert_eq!(tokens.issue(LIMIT), Err(Full));
        tokens.take(&first);
        assert!(tokens.issue(LIMIT).is_ok());
    }
}
