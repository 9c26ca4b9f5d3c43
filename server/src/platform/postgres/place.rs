//! Folders and files of the cluster, and who owns them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::unistd::{Uid, User, chown};
use sha2::{Digest as _, Sha256};

use super::ClusterError;

/// What the name of a cluster that is being made begins with.
pub(super) const UNFINISHED: &str = "postgres.unfinished-";
/// A socket's path may have 107 bytes; Postgres adds a name of its own.
const SOCKET_DIR_MAX: usize = 100 - "/.s.PGSQL.5432.lock".len();

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {verb}: {source}", path.display())]
pub struct FileError {
    path: PathBuf,
    verb: &'static str,
    source: io::Error,
}

impl FileError {
    pub(super) fn new(path: &Path, verb: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self { path, verb, source }
    }
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::new(&path, verb, source)
}

/// Whose the cluster is: ours, or the user `postgres`' where we are root.
#[derive(Debug)]
pub struct Owner(Option<User>);

impl Owner {
    pub(super) fn of_the_cluster() -> Result<Self, ClusterError> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        match User::from_name("postgres") {
            Ok(Some(user)) => Ok(Self(Some(user))),
            _ => Err(ClusterError::NoUser),
        }
    }

    /// What stands before a program of the cluster.
    pub(super) fn prefix(&self) -> String {
        match &self.0 {
            Some(user) => format!("setpriv --reuid={} --regid={} --init-groups ", user.uid, user.gid),
            None => String::new(),
        }
    }

    fn uid(&self) -> Uid {
        self.0.as_ref().map_or_else(Uid::effective, |user| user.uid)
    }

    fn own(&self, path: &Path) -> Result<(), FileError> {
        let Some(user) = &self.0 else {
            return Ok(());
        };
        chown(path, Some(user.uid), Some(user.gid)).map_err(|error| failed(path, "given to postgres")(error.into()))
    }

    /// Checks that the owner can enter every folder down to `dir`. As root, `dir` itself is opened for passing through;
    /// what lies in it stays closed.
    pub(super) fn check_reach(&self, dir: &Path) -> Result<(), ClusterError> {
        if self.0.is_none() {
            return Ok(());
        }
        fs::set_permissions(dir, Permissions::from_mode(0o711)).map_err(failed(dir, "opened"))?;
        let way: Vec<&Path> = dir.ancestors().collect();
        match way.into_iter().rev().find(|folder| !self.can_enter(folder)) {
            Some(folder) => Err(ClusterError::Unreachable {
                folder: folder.display().to_string(),
            }),
            None => Ok(()),
        }
    }

    /// Asked of the kernel as the owner, so that access lists count too.
    fn can_enter(&self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("exec {}test -x \"$1\"", self.prefix()), "sh"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

pub(super) fn make_dirs(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(failed(path, "made"))
}

/// A folder that only the owner may enter.
pub(super) fn make_dir(path: &Path, owner: &Owner) -> Result<(), FileError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(path, "made")(error)),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(path, "closed"))?;
    owner.own(path)
}

pub(super) fn write_program(path: &Path, text: &str) -> Result<(), FileError> {
    fs::write(path, text).map_err(failed(path, "written"))?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(failed(path, "made a program"))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed(to, "put in its place"))
}

/// Removes what starts that were cut off left behind.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(failed(dir, "read"))?.flatten() {
        if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
            fs::remove_dir_all(entry.path()).map_err(failed(&entry.path(), "removed"))?;
        }
    }
    Ok(())
}

/// The cluster's password, made by `make` the first time.
pub(super) fn password(path: &Path, owner: &Owner, make: impl FnOnce() -> String) -> Result<String, FileError> {
    if let Ok(password) = fs::read_to_string(path)
        && !password.is_empty()
    {
        owner.own(path)?;
        return Ok(password);
    }
    let password = make();
    crate::platform::files::write_private(path, password.as_bytes()).map_err(failed(path, "written"))?;
    owner.own(path)?;
    Ok(password)
}

/// The folder of the socket: `run` in the data folder, or where its path is too long for a socket (or has characters that
/// Postgres' lists of folders do not take) one under /run or /tmp, named after the data folder. And whether it stays.
pub(super) fn socket_dir(dir: &Path, owner: &Owner) -> Result<(PathBuf, bool), ClusterError> {
    let own = dir.join("run");
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if own.as_os_str().len() <= SOCKET_DIR_MAX && own.as_os_str().as_bytes().iter().all(plain) {
        make_dir(&own, owner)?;
        return Ok((own, true));
    }
    let digest = Sha256::digest(dir.as_os_str().as_bytes());
    let name = URL_SAFE_NO_PAD.encode(&digest[..9]);
    let parent = if Uid::effective().is_root() && Path::new("/run").is_dir() {
        "/run"
    } else {
        "/tmp"
    };
    let path = Path::new(parent).join(format!("muster-{name}"));
    if let Ok(found) = fs::symlink_metadata(&path)
        && !(found.is_dir() && found.uid() == owner.uid().as_raw())
    {
        return Err(ClusterError::TakenSocket {
            folder: path.display().to_string(),
        });
    }
    make_dir(&path, owner)?;
    Ok((path, false))
}

/// The end of what Postgres said while it started, for the error.
pub(super) fn log_tail(data: &Path) -> String {
    let Ok(text) = fs::read_to_string(data.join("start.log")) else {
        return String::new();
    };
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    lines
        .iter()
        .rev()
        .fold(String::new(), |tail, line| format!("{tail}\n  {line}"))
}
