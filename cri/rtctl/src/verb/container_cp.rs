//! `rtctl cp`
//!
//! | source | destination | result |
//! |---|---|---|
//! | file | not there | a file of that name; with a `/` at its end an error |
//! | file | file | replaced |
//! | file | directory | a file in it |
//! | directory | not there | a directory of that name |
//! | directory | file | an error |
//! | directory | directory | a directory in it |
//! | directory ending in `/.` | directory | its content in it |

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cri::copy::place::{Owner, Place, container_id, host_id};
use cri::copy::{Entry, tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use runtime::root::{self, Links};
use runtime::spec::IdMapping;
use runtime::sys::CallError;
use runtime::sys::process::set_file_ids;
use shim::layout::State;
use shim::local::{Lock, Wait};

use crate::archive::{self, Writer};
use crate::rootfs;
use crate::store::remove::wait_for_end;
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Copy files between a container and the host
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Keep owners when copying to the host (into a container they are always kept)
    #[arg(short, long)]
    archive: bool,
    /// Follow a link that the source is
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive from standard input
    source: OsString,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive to standard output
    destination: OsString,
}

const EXAMPLES: &str = "\
Paths in the container are looked up as the container sees them and never lead out of it.
Works on containers that do not run, too.

Examples:
  rtctl cp web:/etc/passwd .
  rtctl cp site/. web:/srv/www
  rtctl cp web:/var/log - | tar t";

/// A side of the copy.
enum Side {
    /// `-`
    Stream,
    /// A path of the host.
    Host(PathBuf),
    /// Container and path in it.
    Container(String, PathBuf),
}

fn side(text: &OsString) -> Side {
    let bytes = text.as_bytes();
    if bytes == b"-" {
        return Side::Stream;
    }
    // A path with a colon is written as ./a:b.
    match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) if colon > 0 && !bytes[..colon].contains(&b'/') && bytes[0] != b'.' => {
            match std::str::from_utf8(&bytes[..colon]) {
                Ok(name) => Side::Container(name.to_owned(), OsString::from_vec(bytes[colon + 1..].to_vec()).into()),
                Err(_) => Side::Host(text.into()),
            }
        }
        Some(_) | None => Side::Host(text.into()),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        match (side(&self.source), side(&self.destination)) {
            (Side::Container(name, path), Side::Host(to)) => {
                let view = View::open(roots, &name)?;
                let source = view.source(&path, self.follow_link)?;
                let owner = if self.archive { Owner::Same } else { Owner::Caller };
                let target = Target::new(&Ground::Host, &to, &source, &self.destination)?;
                target.copy(source, owner)?;
            }
            (Side::Container(name, path), Side::Stream) => {
                if std::io::stdout().is_terminal() {
                    bail!("standard output is a terminal: redirect it");
                }
                let view = View::open(roots, &name)?;
                let source = view.source(&path, self.follow_link)?;
                let top = if source.only_content { PathBuf::from(".") } else { source.name.clone().into() };
                let mut writer = Writer::new(std::io::stdout().lock(), top);
                source.read(&mut |entry, _| writer.put(entry))?;
                writer.finish()?;
            }
            (Side::Host(from), Side::Container(name, path)) => {
                let source = host_source(&from, self.follow_link)?;
                let view = View::open(roots, &name)?;
                let target = Target::new(&Ground::Container(&view), &path, &source, &self.destination)?;
                view.become_its_root()?;
                target.copy(source, view.owner())?;
            }
            (Side::Stream, Side::Container(name, path)) => {
                let view = View::open(roots, &name)?;
                let dir = view.directory(&path)?;
                view.become_its_root()?;
                let mut place = Place::new(dir, view.owner(), None);
                archive::read(std::io::stdin().lock(), &mut |entry, content| Ok(place.put(entry, content)?))?;
                place.finish()?;
            }
            (Side::Container(..), Side::Container(..)) => {
                bail!("copying between containers is not supported; copy to the host first")
            }
            (Side::Host(_) | Side::Stream, Side::Host(_) | Side::Stream) => {
                bail!("one of the two must be a container: CONTAINER:PATH")
            }
        }
        std::io::stdout().flush().context("write(stdout)")?;
        Ok(0)
    }
}

/// A container's files, as long as this lives.
struct View {
    root: OwnedFd,
    /// Maps of its user namespace; none without one.
    maps: Maps,
    /// Whose ids the files are seen with.
    ids: Ids,
    /// A container that does not run must not be started meanwhile: two mounts of one writable layer damage it.
    _lock: Option<Lock>,
}

/// Lines of uid_map and of gid_map.
type Maps = (Vec<IdMapping>, Vec<IdMapping>);

/// Whose ids files are seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// The host's, as all processes see each other's.
    Host,
    /// The container's, as they are on disk in layers.
    Container,
}

impl View {
    /// The maps by which its files are seen: empty where nothing is to be translated.
    fn seen(&self) -> Maps {
        if self.ids == Ids::Host { self.maps.clone() } else { Maps::default() }
    }

    /// Who owns what is copied into it.
    fn owner(&self) -> Owner {
        let (uids, gids) = self.maps.clone();
        if uids.is_empty() || gids.is_empty() {
            return Owner::Same;
        }
        // What has no mapping becomes the container's root's, however it is seen.
        let seen = |maps: Vec<IdMapping>| match self.ids {
            Ids::Host => maps,
            Ids::Container => maps.into_iter().map(|map| IdMapping { host_id: map.container_id, ..map }).collect(),
        };
        Owner::Mapped { uids: seen(uids), gids: seen(gids) }
    }

    /// Where ids are mapped, only a user of the container can make files.
    fn become_its_root(&self) -> Result<()> {
        let (uids, gids) = self.seen();
        if uids.is_empty() {
            return Ok(());
        }
        let (uid, gid) = (host_id(&uids, 0), host_id(&gids, 0));
        set_file_ids(uid, gid).with_context(|| format!("setfsuid({uid}), setfsgid({gid})"))
    }

    fn open(roots: &Roots, name: &str) -> Result<View> {
        let container = Container::find(roots, name)?;
        if let Some(view) = View::living(roots, &container)? {
            return Ok(view);
        }
        let lock = container.directory()?.lock(Wait::Yes)?;
        let container = Container::find(roots, &container.id)?;
        match container.phase() {
            Phase::Created | Phase::Exited => {}
            Phase::Running | Phase::Paused | Phase::Restarting => {
                bail!("container {name} was started meanwhile; try again")
            }
            Phase::Removing => bail!("container {name} is being removed"),
            Phase::Dead => {
                container.record()?;
            }
        }
        // A shim that has just seen the end is still there for a moment, and so may be its overlay.
        if container.connect()?.is_some()
            && let Some(status) = container.status()?
        {
            wait_for_end(status.shim.0, Instant::now() + LAST_MOMENTS)
                .with_context(|| format!("container {name} is just ending or starting; try again"))?;
        }
        let ids = if container.task()?.layers.is_some() { Ids::Container } else { Ids::Host };
        Ok(View { root: rootfs::stopped(&container)?, maps: maps(&container)?, ids, _lock: Some(lock) })
    }

    /// What the init process sees, if there is one: it runs, or waits to be started.
    fn living(roots: &Roots, container: &Container) -> Result<Option<View>> {
        let Some(init) = init(container) else { return Ok(None) };
        let Ok(root) = rootfs::running(init.0) else { return Ok(None) };
        // The number may have gone to another process before the directory was opened, but not if it is still its.
        let still = self::init(&Container::find(roots, &container.id)?) == Some(init);
        let maps = maps(container)?;
        Ok(still.then_some(View { root, maps, ids: Ids::Host, _lock: None }))
    }

    fn open_path(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, CallError> {
        root::open_in(&self.root, path, flags, Links::InRoot)
    }

    fn source(&self, path: &Path, follow: bool) -> Result<Source> {
        let open = |flags: OFlag| {
            self.open_path(path, flags).map_err(|error| match error.errno {
                Errno::ENOENT => anyhow!("no file {} in the container", path.display()),
                _ => error.into(),
            })
        };
        Ok(Source { maps: self.seen(), ..Source::new(path, follow, open)? })
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        self.open_path(path, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(|error| match error.errno {
            Errno::ENOENT => anyhow!("no directory {} in the container", path.display()),
            Errno::ENOTDIR => anyhow!("{} in the container is not a directory", path.display()),
            _ => error.into(),
        })
    }
}

fn maps(container: &Container) -> Result<Maps> {
    let linux = container.spec()?.linux.unwrap_or_default();
    Ok((linux.uid_mappings, linux.gid_mappings))
}

/// How long a shim may take to end after its container.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// The container's init process: its number and when it was started.
fn init(container: &Container) -> Option<(i32, u64)> {
    match &container.status.as_ref().ok()?.as_ref()?.state {
        State::Created { init } | State::Running { init } | State::Paused { init } => Some(*init),
        State::Creating | State::Restarting { .. } | State::Exited | State::Removing => None,
    }
}

/// What is copied.
struct Source {
    fd: OwnedFd,
    /// Name that it has by itself.
    name: OsString,
    directory: bool,
    /// `DIR/.`: what is in it, not itself.
    only_content: bool,
    /// From the ids of its owners as they are seen to those that are meant.
    maps: Maps,
}

impl Source {
    fn new(path: &Path, follow: bool, open: impl Fn(OFlag) -> Result<OwnedFd>) -> Result<Source> {
        let bytes = path.as_os_str().as_bytes();
        let only_content = bytes.ends_with(b"/.") || bytes == b".";
        // A slash at the end asks for what a link leads to.
        let follows = follow || only_content || bytes.ends_with(b"/");
        let flags = if follows { OFlag::O_PATH } else { OFlag::O_PATH | OFlag::O_NOFOLLOW };
        let fd = open(flags)?;
        let kind = fstat(&fd).with_context(|| format!("fstat({})", path.display()))?.st_mode & SFlag::S_IFMT.bits();
        let directory = kind == SFlag::S_IFDIR.bits();
        if bytes.ends_with(b"/") && !directory {
            bail!("{}: not a directory", path.display());
        }
        let name = path.file_name().map_or_else(|| OsString::from("root"), OsString::from);
        // The root itself has no name to be copied under.
        let only_content = only_content || path.file_name().is_none();
        Ok(Source { fd, name, directory, only_content: only_content && directory, maps: Maps::default() })
    }

    /// Hands over each entry.
    fn read(self, put: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
        let (uids, gids) = self.maps;
        tree::read(self.fd, &mut |mut entry, content| {
            entry.uid = container_id(&uids, entry.uid);
            entry.gid = container_id(&gids, entry.gid);
            put(entry, content)
        })
    }
}

fn host_source(path: &Path, follow: bool) -> Result<Source> {
    Source::new(path, follow, |flags| {
        openat(AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty()).with_context(|| path.display().to_string())
    })
}

/// Where paths of the destination are looked up.
enum Ground<'a> {
    Host,
    Container(&'a View),
}

impl Ground<'_> {
    fn open(&self, path: &Path, flags: OFlag) -> Result<Option<OwnedFd>> {
        let empty = path.as_os_str().is_empty();
        let result = match self {
            Ground::Host => {
                let path = if empty { Path::new(".") } else { path };
                openat(AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty())
                    .map_err(|errno| (errno, anyhow!("open({path:?}): {errno}")))
            }
            Ground::Container(view) => view.open_path(path, flags).map_err(|error| (error.errno, error.into())),
        };
        match result {
            Ok(fd) => Ok(Some(fd)),
            Err((Errno::ENOENT, _)) => Ok(None),
            Err((_, error)) => Err(error),
        }
    }
}

/// Where it goes: a directory, and the name of the top entry in it.
struct Target {
    dir: OwnedFd,
    name: Option<PathBuf>,
}

impl Target {
    fn new(ground: &Ground<'_>, path: &Path, source: &Source, shown: &OsString) -> Result<Target> {
        let shown = shown.display();
        let bytes = path.as_os_str().as_bytes();
        let wants_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.") || matches!(bytes, b"" | b"." | b"..");
        // Links are followed: the destination is what the path leads to.
        if let Some(fd) = ground.open(path, OFlag::O_PATH)? {
            let kind = fstat(&fd).context("fstat")?.st_mode & SFlag::S_IFMT.bits();
            if kind == SFlag::S_IFDIR.bits() {
                let name = (!source.only_content).then(|| source.name.clone().into());
                return Ok(Target { dir: fd, name });
            }
            if source.directory {
                bail!("{shown}: is a file, and a directory cannot take its place");
            }
            if wants_directory {
                bail!("{shown}: is not a directory");
            }
        } else if wants_directory && !source.directory {
            bail!("{shown}: no such directory; make it first");
        }
        let trimmed = path.components().as_path();
        let Some(name) = trimmed.file_name() else { bail!("{shown}: no such directory") };
        let parent = trimmed.parent().unwrap_or(Path::new(""));
        let dir = ground.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let dir = dir.ok_or_else(|| anyhow!("{shown}: there is no directory {}", parent.display()))?;
        Ok(Target { dir, name: Some(name.into()) })
    }

    fn copy(self, source: Source, owner: Owner) -> Result<()> {
        let mut place = Place::new(self.dir, owner, self.name);
        source.read(&mut |entry, content| Ok(place.put(entry, content)?))?;
        Ok(place.finish()?)
    }
}
