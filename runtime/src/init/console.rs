//! Standard streams: inherited, given, or a new pseudo terminal of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::{Create, Exec, Streams};
use crate::launch::{Channel, send_fd};
use crate::plan::Process;
use crate::root::{Links, Root};
use crate::sys::mount::{Depth, move_mount, open_tree};
use crate::sys::{Call, CallError, tty};

/// Magic number of devpts, statfs(2).
const DEVPTS: FsType = FsType(0x1cd1);

/// Connects the streams of a container's init process.
pub(super) fn connect(create: &mut Create<'_>, root: &Root, devpts: Option<&OwnedFd>) -> Result<(), CallError> {
    let process = &create.plan.process;
    match std::mem::replace(&mut create.streams, Streams::Inherit) {
        Streams::Inherit => own_pipes(process),
        Streams::Files(files) => replace(&files),
        Streams::Terminal(socket) => {
            let devpts = devpts
                .ok_or(Errno::ENODEV)
                .call(|| "open(<devpts>, \"ptmx\"): process.terminal needs a devpts mount on /dev/pts".to_owned())?;
            let call = || "openat(<devpts>, \"ptmx\", O_RDWR|O_NOCTTY)".to_owned();
            let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let master = openat(devpts, "ptmx", flags, Mode::empty()).call(call)?;
            let terminal = terminal(&create.channel, process, &master, socket)?;
            if create.plan.populate_dev {
                let target = root.make_file(Path::new("dev/console"), Links::Refuse)?;
                let mount = open_tree(&terminal, c"", Depth::Single).call(|| "open_tree(<terminal>)".to_owned())?;
                move_mount(&mount, &target).call(|| "move_mount(<terminal>, \"/dev/console\")".to_owned())?;
            }
            Ok(())
        }
    }
}

/// Connects the streams of a process that has entered a container.
pub(super) fn connect_exec(exec: &mut Exec<'_>) -> Result<(), CallError> {
    match std::mem::replace(&mut exec.streams, Streams::Inherit) {
        Streams::Inherit => own_pipes(exec.process),
        Streams::Files(files) => replace(&files),
        Streams::Terminal(socket) => {
            // The container may have put anything there by now: only a real devpts will do (CVE-2025-52565).
            let slash =
                openat(nix::fcntl::AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                    .call(|| "open(\"/\", O_PATH)".to_owned())?;
            let directory =
                Root::new(slash).open(Path::new("dev/pts"), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Links::Refuse)?;
            let kind = fstatfs(&directory).call(|| "fstatfs(\"/dev/pts\")".to_owned())?.filesystem_type();
            if kind != DEVPTS {
                return Err(Errno::ENODEV).call(|| "open(\"/dev/pts/ptmx\"): /dev/pts is no devpts".to_owned());
            }
            let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let master =
                openat(&directory, "ptmx", flags, Mode::empty()).call(|| "openat(<devpts>, \"ptmx\")".to_owned())?;
            terminal(&exec.channel, exec.process, &master, socket).map(|_| ())
        }
    }
}

/// Hands the master over and makes the other end the controlling terminal and standard streams.
fn terminal(
    channel: &Channel,
    process: &Process,
    master: &OwnedFd,
    socket: Option<OwnedFd>,
) -> Result<OwnedFd, CallError> {
    tty::unlock(master).call(|| "ioctl(<ptmx>, TIOCSPTLCK)".to_owned())?;
    let terminal = tty::peer(master).call(|| "ioctl(<ptmx>, TIOCGPTPEER)".to_owned())?;
    if let Some(size) = process.console_size {
        tty::set_size(master, size.height, size.width).call(|| "ioctl(<ptmx>, TIOCSWINSZ)".to_owned())?;
    }
    if process.uid != 0 {
        fchown(&terminal, Some(Uid::from_raw(process.uid)), None).call(|| format!("fchown(<pts>, {})", process.uid))?;
    }
    match socket {
        Some(socket) => send_fd(socket.as_fd(), b"/dev/pts/ptmx", master.as_fd())?,
        None => channel.console(master.as_fd())?,
    }
    set_streams(terminal.as_fd(), terminal.as_fd(), terminal.as_fd())?;
    tty::set_controlling(&terminal).call(|| "ioctl(<pts>, TIOCSCTTY)".to_owned())?;
    Ok(terminal)
}

fn replace(files: &[OwnedFd; 3]) -> Result<(), CallError> {
    set_streams(files[0].as_fd(), files[1].as_fd(), files[2].as_fd())
}

fn set_streams(stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<(), CallError> {
    dup2_stdin(stdin).call(|| "dup2(<stdin>, 0)".to_owned())?;
    dup2_stdout(stdout).call(|| "dup2(<stdout>, 1)".to_owned())?;
    dup2_stderr(stderr).call(|| "dup2(<stderr>, 2)".to_owned())
}

/// Inherited pipes and sockets go to the user of the process, so that it can open /dev/stdout again. Files, terminals and
/// devices of the caller stay as they are (CVE-2026-88265).
fn own_pipes(process: &Process) -> Result<(), CallError> {
    if process.uid == 0 {
        return Ok(());
    }
    for stream in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
        let Ok(found) = fstat(stream) else { continue };
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK {
            let owner = (Some(Uid::from_raw(process.uid)), Some(Gid::from_raw(process.gid)));
            match fchown(stream, owner.0, owner.1) {
                // A pipe of another user namespace: its owner arranged for access, or it stays as it is.
                Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => {}
                Err(errno) => return Err(errno).call(|| format!("fchown(<stream>, {})", process.uid)),
            }
        }
    }
    Ok(())
}
