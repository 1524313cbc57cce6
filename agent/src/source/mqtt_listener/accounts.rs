//! The password file: read again when it has changed, asked by one thread at a time.
//!
//! A hash is made to be slow. A thousand devices that come back together are known by a tag of
//! what they said before and wait for nobody; those that are new wait for each other, and neither
//! holds up what is acknowledged meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipeline::passwords::Passwords;
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::protocol::Question;
use crate::stamp::Stamp;

/// How often the file is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The largest password file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An answer on its way.
pub(super) type Verifying = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Who may connect.
pub(super) struct Accounts {
    source: String,
    path: PathBuf,
    key: hmac::Key,
    turn: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

struct State {
    passwords: Arc<Passwords>,
    stamp: Option<Stamp>,
    looked: Instant,
    /// By user, the tag of what was right.
    known: HashMap<Box<str>, hmac::Tag>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Accounts {
    /// Reads the file at `path`; what is wrong with it is told in words.
    pub(super) fn new(source: &str, path: &Path) -> Result<Self, String> {
        let stamp = Stamp::of(path);
        let passwords = read(path)?;
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "the system has no randomness".to_owned())?;
        Ok(Self {
            source: source.to_owned(),
            path: path.to_owned(),
            key,
            turn: Arc::new(Semaphore::new(1)),
            state: Arc::new(Mutex::new(State {
                passwords: Arc::new(passwords),
                stamp,
                looked: Instant::now(),
                known: HashMap::new(),
            })),
        })
    }

    /// Asks whether user name and password are right.
    pub(super) fn verify(&self, question: Question) -> Verifying {
        let tag = hmac::sign(&self.key, &said(&question));
        let (passwords, is_known) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.look(&mut state);
            let known = state.known.get(&question.username);
            let is_known = known.is_some_and(|known| {
                hmac::verify(&self.key, &said(&question), known.as_ref()).is_ok()
            });
            (Arc::clone(&state.passwords), is_known)
        };
        if is_known || !passwords.has(&question.username) {
            return Box::pin(std::future::ready(is_known));
        }
        let (turn, state) = (Arc::clone(&self.turn), Arc::clone(&self.state));
        Box::pin(async move {
            let Ok(_turn) = turn.acquire().await else {
                return false;
            };
            let asked = Arc::clone(&passwords);
            let work = tokio::task::spawn_blocking(move || {
                let is_right = asked.verify(&question.username, &question.password);
                (is_right, question.username)
            });
            let Ok((is_right, username)) = work.await else {
                return false;
            };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            // What an older file said is not remembered.
            if is_right && Arc::ptr_eq(&passwords, &state.passwords) {
                state.known.insert(username, tag);
            }
            is_right
        })
    }

    /// Reads the file again if it has changed.
    fn look(&self, state: &mut State) {
        if state.looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        state.looked = Instant::now();
        let stamp = Stamp::of(&self.path);
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        let source = &self.source;
        match read(&self.path) {
            Ok(passwords) => {
                state.passwords = Arc::new(passwords);
                state.known.clear();
                tracing::info!(source, "the password file changed and was read again");
            }
            Err(error) => tracing::warn!(
                source,
                "the password file changed and cannot be used, so what was read before stays: \
                 {error}"
            ),
        }
    }
}

/// Waits for an answer; for ever when nobody was asked.
pub(super) async fn verified(verifying: &mut Option<Verifying>) -> bool {
    match verifying {
        Some(verifying) => verifying.await,
        None => pending().await,
    }
}

/// Reads a password file; what is wrong with it is told in words.
pub(crate) fn read(path: &Path) -> Result<Passwords, String> {
    let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(told(&format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    Passwords::read(&text).map_err(|error| told(&error))
}

/// User name and password as one piece of bytes that no other pair makes.
fn said(question: &Question) -> Vec<u8> {
    let mut said = question.username.as_bytes().to_vec();
    said.push(0);
    said.extend(&*question.password);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `mosquitto_passwd`: press has `secret7`, paint `secret6`.
    const FILE: &str = include_str!("testdata/passwords");

    fn put(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        let mut file = std::fs::File::create(&beside).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn question(username: &str, password: &str) -> Question {
        Question {
            username: username.into(),
            password: password.as_bytes().into(),
        }
    }

    #[tokio::test]
    async fn passwords_are_remembered_until_the_file_changes() {
        let path = format!("hydrant-passwords-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        put(&path, FILE);
        let accounts = Accounts::new("test", &path).unwrap();
        let ask = async |username, password| accounts.verify(question(username, password)).await;
        let known = || accounts.state.lock().unwrap().known.len();
        assert!(ask("press", "secret7").await);
        assert!(!ask("press", "secret6").await);
        assert!(ask("paint", "secret6").await);
        assert!(!ask("nobody", "secret6").await);
        assert!(!ask("press", "").await);
        assert_eq!(known(), 2);
        assert!(ask("press", "secret7").await);
        // Paint is gone; then the file is, and what was read stays.
        let press = FILE.lines().next().unwrap();
        put(&path, &format!("{press}\n"));
        let look = || {
            let mut state = accounts.state.lock().unwrap();
            state.looked = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
        };
        look();
        assert!(!ask("paint", "secret6").await);
        assert_eq!(known(), 0);
        put(&path, "press:no hash\n");
        look();
        assert!(ask("press", "secret7").await);
        let error = Accounts::new("test", &path).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
        std::fs::remove_file(&path).unwrap();
        look();
        assert!(ask("press", "secret7").await);
    }

    /// Devices that are known do not wait for one that is not.
    #[tokio::test]
    async fn who_is_known_waits_for_nobody() {
        let path = std::env::temp_dir().join(format!("hydrant-known-{}", std::process::id()));
        put(&path, FILE);
        let accounts = Accounts::new("test", &path).unwrap();
        assert!(accounts.verify(question("press", "secret7")).await);
        let turn = accounts.turn.acquire().await.unwrap();
        let waiting = tokio::spawn(accounts.verify(question("paint", "secret6")));
        assert!(accounts.verify(question("press", "secret7")).await);
        assert!(!waiting.is_finished());
        drop(turn);
        assert!(waiting.await.unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
