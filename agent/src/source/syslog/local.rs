//! Sockets with a path: made beside their place, given their owner and mode, and only then put
//! into it, so that nobody sees one half made.
//!
//! A socket that nobody listens on any more is replaced; anything else in that place is left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use pipeline::config::SyslogConfig;
use rustix::net::sockopt;
use socket2::{Domain, SockAddr, Socket, Type};

/// How many senders may wait for a connection.
const BACKLOG: i32 = 1024;

/// What a socket is called until it is ready.
const UNREADY: &str = ".new";

/// Takes the path away at the end, if it is still that of this socket.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id);
        if is_ours {
            // What cannot be removed is replaced at the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Makes a socket of this kind at `path`.
pub(super) fn bind(path: &Path, kind: Type, config: &SyslogConfig) -> io::Result<(Socket, Place)> {
    let owner = config
        .socket_owner
        .as_deref()
        .map(Owner::find)
        .transpose()?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    is_free(path)?;
    let mut unready = path.as_os_str().to_owned();
    unready.push(UNREADY);
    let unready = PathBuf::from(unready);
    // Left there by an agent that was killed in between.
    is_free(&unready)?;
    remove(&unready)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    ask_for_credentials(&socket);
    socket.bind(&SockAddr::unix(&unready)?)?;
    let made = furnish(&socket, &unready, kind, owner, config.socket_mode)
        .and_then(|()| fs::symlink_metadata(&unready))
        .and_then(|found| fs::rename(&unready, path).map(|()| id(&found)));
    match made {
        Ok(id) => {
            let path = path.to_owned();
            Ok((socket, Place { path, id }))
        }
        Err(error) => {
            drop(remove(&unready));
            Err(error)
        }
    }
}

/// Makes the kernel tell who sends a datagram. Without it senders are anonymous, which is no reason
/// to refuse them.
pub(super) fn ask_for_credentials(socket: &Socket) {
    sockopt::set_socket_passcred(socket, true).ok();
}

fn furnish(
    socket: &Socket,
    path: &Path,
    kind: Type,
    owner: Option<Owner>,
    mode: u32,
) -> io::Result<()> {
    if let Some(Owner { uid, gid }) = owner {
        chown(path, uid, gid)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(())
}

/// Whether a socket may be put there: nothing is, or a socket that nobody listens on.
fn is_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let target = fs::read_link(path).map(|to| format!(": it is a link to {}", to.display()));
        let what = format!(
            "it is in the way and no socket{}",
            target.unwrap_or_default()
        );
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    for kind in [Type::DGRAM, Type::STREAM] {
        let probe = Socket::new(Domain::UNIX, kind, None)?;
        probe.set_nonblocking(true)?;
        match probe.connect(&SockAddr::unix(path)?) {
            // Nobody has it any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Connected, a full queue, or of another kind, which the next probe finds out.
            Ok(()) | Err(_) => {}
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn id(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Who a socket is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Owner {
    /// `USER`, `USER:GROUP` or `:GROUP`, each a number or a name of this machine.
    fn find(written: &str) -> io::Result<Self> {
        let (user, group) = written.split_once(':').unwrap_or((written, ""));
        Ok(Self {
            uid: number(user, "/etc/passwd", "user")?,
            gid: number(group, "/etc/group", "group")?,
        })
    }
}

fn number(name: &str, table: &str, what: &str) -> io::Result<Option<u32>> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let found = number_in(&fs::read_to_string(table)?, name);
    let unknown = || {
        let text = format!("there is no {what} \"{name}\" on this machine");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    found.map(Some).ok_or_else(unknown)
}

/// The third column of the line that begins with `name`.
fn number_in(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut columns = line.split(':');
        (columns.next() == Some(name)).then(|| columns.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_by_name_and_number() {
        let check = |written: &str, uid, gid| {
            assert_eq!(
                Owner::find(written).unwrap(),
                Owner { uid, gid },
                "{written}"
            );
        };
        check("root", Some(0), None);
        check("root:root", Some(0), Some(0));
        check(":root", None, Some(0));
        check("12:34", Some(12), Some(34));
        let error = Owner::find("nobody-of-this-name").unwrap_err().to_string();
        assert!(error.contains("there is no user"), "{error}");
        assert_eq!(
            number_in("adm:x:4:syslog,pi\nadmin:x:5:\n", "admin"),
            Some(5)
        );
        assert_eq!(number_in("adm\nadm:x\nadm:x:y:\n", "adm"), None);
    }
}
