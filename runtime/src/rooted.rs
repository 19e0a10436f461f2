//! Opening paths beneath a directory handle that cannot be left.
//!
//! Nothing that an image, an archive or a bundle names reaches a system call as a path of the host: it is resolved by
//! `openat2(2)` from the descriptor of the directory it belongs to. Two ways of resolution exist, chosen by [`Links`].
//!
//! Source: openat2(2); CVE-2021-30465, CVE-2024-45310, CVE-2025-47290.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

/// What a symbolic link on the way means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A link, a mount point or a `..` that leaves the directory is an error (`ELOOP`, `EXDEV`). For trees that we write.
    Refuse,
    /// Links are followed as if the directory were `/`. For reading in the root file system of a container.
    InRoot,
}

/// A system call that the kernel refused: the call with its arguments, and the answer.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {errno}")]
pub struct CallError {
    /// The call as strace would show it: `openat2([5]</rootfs>, "etc/passwd", O_RDONLY)`.
    pub call: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// How often a resolution is tried again when a rename elsewhere disturbed it (`EAGAIN`, openat2(2)).
const TRIES: usize = 128;

/// Opens `path`, relative to `dir`, without ever leaving `dir`; always close-on-exec.
///
/// A leading `/` counts as `dir` itself. `mode` matters for `O_CREAT` only.
///
/// # Errors
/// The kernel's answer, with the path behind the descriptor.
pub fn open(dir: impl AsFd, path: &[u8], flags: OFlag, mode: Mode, links: Links) -> Result<OwnedFd, CallError> {
    let resolve = match links {
        Links::Refuse => {
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV
        }
        Links::InRoot => ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    };
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
        let try_open = |path: &[u8], links| open(&dir, path, OFlag::O_RDONLY, Mode::empty(), links);

        assert_eq!(try_open(b"../secret", Links::Refuse).unwrap_err().errno, Errno::EXDEV);
        for link in [&b"relative"[..], b"absolute", b"link"] {
            assert_eq!(try_open(link, Links::Refuse).unwrap_err().errno, Errno::ELOOP, "{}", Quoted(link));
        }
        for path in [&b"../secret"[..], b"relative", b"absolute"] {
            assert_eq!(try_open(path, Links::InRoot).unwrap_err().errno, Errno::ENOENT, "{}", Quoted(path));
        }
        assert_eq!(text(try_open(b"link", Links::InRoot).unwrap()), "inside");
        assert_eq!(text(try_open(b"/plain", Links::Refuse).unwrap()), "inside");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn errors_read_like_strace() {
        let (base, dir) = scratch("strace");
        let error = open(&dir, b"no\nne", OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty(), Links::Refuse).unwrap_err();
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
