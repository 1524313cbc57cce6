//! Password files as `mosquitto_passwd` writes them.
//!
//! Each line is `USER:HASH`. `$7$` is PBKDF2 of SHA-512, `$6$` a salted SHA-512. All that is wrong
//! with a file is told at once, each with its line; a file with a mistake is refused whole.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, pbkdf2};

/// More iterations would keep a gateway busy for seconds at each password.
const ITERATIONS_MAX: u32 = 1_000_000;

/// So many mistakes are told; the others are likely the same.
const PROBLEMS_MAX: usize = 10;

/// Users and what their passwords hash to.
#[derive(Debug, Default)]
pub struct Passwords(BTreeMap<Box<str>, Hash>);

#[derive(Debug)]
struct Hash {
    /// `None` is SHA-512 once.
    iterations: Option<NonZeroU32>,
    salt: Vec<u8>,
    made: Vec<u8>,
}

/// Mistakes of a password file, each with the number of its line.
#[derive(Debug, PartialEq, Eq)]
pub struct PasswordsError(Vec<(usize, &'static str)>);

impl fmt::Display for PasswordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, problem)) in self.0.iter().take(PROBLEMS_MAX).enumerate() {
            let between = if number == 0 { "" } else { "; " };
            write!(f, "{between}line {line}: {problem}")?;
        }
        match self.0.len().saturating_sub(PROBLEMS_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for PasswordsError {}

impl Passwords {
    /// Reads a password file. Blank lines and lines that begin with `#` say nothing; of two lines
    /// for one user the last counts.
    pub fn read(text: &str) -> Result<Self, PasswordsError> {
        let (mut users, mut problems) = (BTreeMap::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match read_line(line) {
                Ok((user, hash)) => drop(users.insert(user.into(), hash)),
                Err(problem) => problems.push((number, problem)),
            }
        }
        if problems.is_empty() {
            Ok(Self(users))
        } else {
            Err(PasswordsError(problems))
        }
    }

    /// Whether `user` is in the file.
    pub fn has(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// Whether this is the password of `user`. Takes its time, as it is meant to.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        self.0.get(user).is_some_and(|hash| hash.verify(password))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let (salt, wanted) = (&self.salt, &self.made);
        if let Some(iterations) = self.iterations {
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
            return pbkdf2::verify(algorithm, iterations, salt, password, wanted).is_ok();
        }
        let made = digest::digest(&digest::SHA512, &[password, salt].concat());
        let pairs = made.as_ref().iter().zip(wanted);
        let differences = pairs.fold(0, |differences, (a, b)| differences | (a ^ b));
        wanted.len() == made.as_ref().len() && differences == 0
    }
}

fn read_line(line: &str) -> Result<(&str, Hash), &'static str> {
    const UNKNOWN: &str = "has no hash of the kinds $7$ and $6$; \
                           set the password with mosquitto_passwd";
    const BROKEN: &str = "has a hash that is cut or changed; \
                          set the password anew with mosquitto_passwd";
    let (user, hash) = line
        .split_once(':')
        .ok_or("is not USER:HASH, as mosquitto_passwd writes it")?;
    if user.is_empty() {
        return Err("has no user name");
    }
    let (iterations, rest) = if let Some(rest) = hash.strip_prefix("$7$") {
        let (iterations, rest) = rest.split_once('$').ok_or(BROKEN)?;
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| BROKEN)?;
        if iterations.get() > ITERATIONS_MAX {
            return Err("has a hash of more than 1000000 iterations, which takes too long here");
        }
        (Some(iterations), rest)
    } else {
        (None, hash.strip_prefix("$6$").ok_or(UNKNOWN)?)
    };
    let (salt, hash) = rest.split_once('$').ok_or(BROKEN)?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| BROKEN);
    let (salt, made) = (decode(salt)?, decode(hash)?);
    if salt.is_empty() || made.len() != digest::SHA512_OUTPUT_LEN {
        return Err(BROKEN);
    }
    let hash = Hash {
        iterations,
        salt,
        made,
    };
    Ok((user, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `mosquitto_passwd`.
    const PRESS: &str = "press:$7$101$ZWqKhAeUdN0YpvxI$n21S5xxmG6jCoz4PHOJqUocj6uRteBNLNvI1B1VR0Wmq1iY3CQ\
        Psb/3AwGbWQO6PKLUWMEcg5hgh/Sv+H6PZoQ==";
    const PAINT: &str = "paint:$6$JmUbVzHHfWFlnF7r$+r+p8Rt3NAXfX4aF4938d9p3N7TiVGMbSLbDxnx+HHbELWtRxfEw/H\
        2ZPRyhdZqEjVwXQ9WG5z9JFbxpwqPX6w==";

    #[test]
    fn passwords_of_mosquitto() {
        let file = format!("# devices\n\n{PRESS}\r\n{PAINT}");
        let passwords = Passwords::read(&file).unwrap();
        assert_eq!(passwords.len(), 2);
        let check = |user: &str, password: &str, expected: bool| {
            let verified = passwords.verify(user, password.as_bytes());
            assert_eq!(verified, expected, "{user} {password}");
        };
        check("press", "secret7", true);
        check("press", "secret6", false);
        check("press", "", false);
        check("paint", "secret6", true);
        check("paint", "secret7", false);
        check("paint", "secret6 ", false);
        check("nobody", "secret6", false);
        // The last line counts.
        let twice = format!("{PRESS}\npress:{}\n", PAINT.split_once(':').unwrap().1);
        let passwords = Passwords::read(&twice).unwrap();
        assert!(passwords.verify("press", b"secret6"));
        assert!(Passwords::read("").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let check = |file: &str, expected: &str| {
            let told = Passwords::read(file).unwrap_err().to_string();
            assert!(
                told.contains(expected),
                "{told:?} does not say {expected:?}"
            );
        };
        check("press", "line 1: is not USER:HASH");
        check("\n#\n:$6$", "line 3: has no user name");
        check(
            "press:secret",
            "line 1: has no hash of the kinds $7$ and $6$",
        );
        check("press:$1$abc", "no hash of the kinds");
        check("press:$7$", "hash that is cut");
        check("press:$7$0$YQ==$YQ==", "hash that is cut");
        check("press:$7$9999999$YQ==$YQ==", "more than 1000000 iterations");
        check("press:$6$YQ==$YQ==", "hash that is cut");
        check(&PRESS[..PRESS.len() - 4], "hash that is cut");
        check(
            &format!("a\n{PRESS}\nb"),
            "line 1: is not USER:HASH, as mosquitto_passwd writes it; line 3",
        );
        check(&"a\n".repeat(14), "; and 4 more");
    }
}
