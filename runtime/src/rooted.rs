//! Opening paths beneath a directory handle, for trees that we write ourselves: layers, the image store.
//!
//! Where [`root`](crate::root) gives links the meaning they have in a container, here every symbolic link, mount point and
//! `..` that leads out is an error: nobody but us should have put one there. Names are bytes, as archives have them.
//!
//! Source: openat2(2); CVE-2021-32760, CVE-2025-47290.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use crate::sys::CallError;

/// How often a resolution is tried again when a rename elsewhere disturbed it (`EAGAIN`, openat2(2)).
const TRIES: usize = 128;

/// Opens `path`, relative to `dir`, without leaving `dir` and without following a link; always close-on-exec.
///
/// A leading `/` counts as `dir` itself. `mode` matters for `O_CREAT` only.
///
/// # Errors
/// The kernel's answer, with the path behind the descriptor: `ELOOP` for a link, `EXDEV` for a mount point or a way out.
pub fn open(dir: impl AsFd, path: &[u8], flags: OFlag, mode: Mode) -> Result<OwnedFd, CallError> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let relative = match path.iter().position(|byte| *byte != b'/') {
        Some(start) => &path[start..],
        None => b".",
    };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    let mut tries = 0;
    loop {
        match openat2(dir.as_fd(), relative, how) {
            Ok(fd) => return Ok(fd),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if tries < TRIES => tries += 1,
            Err(errno) => {
                let call = format!("openat2({}, {}, {})", Shown(&dir), Quoted(relative), flag_names(flags));
                return Err(CallError { call, errno });
            }
        }
    }
}

/// Shows a descriptor as strace does: `[5]</rootfs>`.
pub struct Shown<'a, F: AsFd>(pub &'a F);

impl<F: AsFd> fmt::Display for Shown<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.as_fd().as_raw_fd();
        match std::fs::read_link(format!("/proc/self/fd/{number}")) {
            Ok(path) => write!(f, "[{number}]<{}>", path.as_os_str().as_bytes().escape_ascii()),
            Err(_) => write!(f, "[{number}]"),
        }
    }
}

/// Shows bytes of a path as a quoted string, what is not printable ASCII escaped.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

fn flag_names(flags: OFlag) -> String {
    let access = match flags & OFlag::O_ACCMODE {
        OFlag::O_WRONLY => "O_WRONLY",
        OFlag::O_RDWR => "O_RDWR",
        _ => "O_RDONLY",
    };
    let rest = [
        (OFlag::O_PATH, "O_PATH"),
        (OFlag::O_CREAT, "O_CREAT"),
        (OFlag::O_EXCL, "O_EXCL"),
        (OFlag::O_TRUNC, "O_TRUNC"),
        (OFlag::O_DIRECTORY, "O_DIRECTORY"),
        (OFlag::O_NOFOLLOW, "O_NOFOLLOW"),
        (OFlag::O_NONBLOCK, "O_NONBLOCK"),
    ];
    let mut names = String::from(access);
    for (flag, name) in rest {
        if flags.contains(flag) {
            names.push('|');
            names.push_str(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A fresh folder `inside` next to a file `secret` that must stay out of reach.
    fn scratch(name: &str) -> (PathBuf, File) {
        let base = std::env::temp_dir().join(format!("rooted-{name}-{}", std::process::id()));
        std::fs::create_dir(&base).unwrap();
        std::fs::create_dir(base.join("inside")).unwrap();
        std::fs::write(base.join("secret"), "outside").unwrap();
        let dir = File::open(base.join("inside")).unwrap();
        (base, dir)
    }

    fn text(fd: OwnedFd) -> String {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn nothing_leads_outside() {
        let (base, dir) = scratch("outside");
        symlink("../secret", base.join("inside/relative")).unwrap();
        symlink(base.join("secret"), base.join("inside/absolute")).unwrap();
        std::fs::write(base.join("inside/plain"), "inside").unwrap();
        symlink("/plain", base.join("inside/link")).unwrap();
        let try_open = |path: &[u8]| open(&dir, path, OFlag::O_RDONLY, Mode::empty());

        assert_eq!(try_open(b"../secret").unwrap_err().errno, Errno::EXDEV);
        for link in [&b"relative"[..], b"absolute", b"link"] {
            assert_eq!(try_open(link).unwrap_err().errno, Errno::ELOOP, "{}", Quoted(link));
        }
        assert_eq!(text(try_open(b"/plain").unwrap()), "inside");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn errors_read_like_strace() {
        let (base, dir) = scratch("strace");
        let error = open(&dir, b"no\nne", OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).unwrap_err();
        let folder = base.join("inside");
        let expected = format!(
            "openat2([{}]<{}>, \"no\\nne\", O_RDONLY|O_PATH|O_NOFOLLOW): ENOENT: No such file or directory",
            dir.as_raw_fd(),
            folder.display()
        );
        assert_eq!(error.to_string(), expected);
        std::fs::remove_dir_all(base).unwrap();
    }
}
