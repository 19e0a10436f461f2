//! The commands, one file each: `<object>_<verb>.rs`. To learn what a command does, open its file and read down.

pub(crate) mod container_attach;
pub(crate) mod container_cp;
pub(crate) mod container_create;
pub(crate) mod container_diff;
pub(crate) mod container_exec;
pub(crate) mod container_export;
pub(crate) mod container_inspect;
pub(crate) mod container_kill;
pub(crate) mod container_list;
pub(crate) mod container_logs;
pub(crate) mod container_pause;
pub(crate) mod container_port;
pub(crate) mod container_prune;
pub(crate) mod container_rename;
pub(crate) mod container_restart;
pub(crate) mod container_rm;
pub(crate) mod container_run;
pub(crate) mod container_start;
pub(crate) mod container_stats;
pub(crate) mod container_stop;
pub(crate) mod container_top;
pub(crate) mod container_unpause;
pub(crate) mod container_update;
pub(crate) mod container_wait;
pub(crate) mod image_fsck;
pub(crate) mod image_history;
pub(crate) mod image_inspect;
pub(crate) mod image_list;
pub(crate) mod image_load;
pub(crate) mod image_prune;
pub(crate) mod image_pull;
pub(crate) mod image_rm;
pub(crate) mod image_save;
pub(crate) mod image_tag;
pub(crate) mod network_connect;
pub(crate) mod network_create;
pub(crate) mod network_disconnect;
pub(crate) mod network_inspect;
pub(crate) mod network_list;
pub(crate) mod network_prune;
pub(crate) mod network_release;
pub(crate) mod network_rm;
pub(crate) mod system_completion;
pub(crate) mod system_df;
pub(crate) mod system_events;
pub(crate) mod system_info;
pub(crate) mod system_man;
pub(crate) mod system_version;
pub(crate) mod volume_create;
pub(crate) mod volume_inspect;
pub(crate) mod volume_list;
pub(crate) mod volume_prune;
pub(crate) mod volume_rm;

use anyhow::Result;
use shim::client::Connection;
use shim::protocol::{Reply, Request};

use crate::output::say;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Does the same to several objects: goes on after an error, and says what went well. The exit code.
fn each(names: &[String], mut act: impl FnMut(&str) -> Result<()>) -> u8 {
    let mut code = 0;
    for name in names {
        match act(name) {
            Ok(()) if say(name).is_ok() => {}
            // Nobody reads the names.
            Ok(()) => code = 1,
            Err(error) => {
                eprintln!("rtctl: {error:#}");
                code = 1;
            }
        }
    }
    code
}

/// Connects to a container's shim; an error when there is none.
fn connect(container: &Container) -> Result<Connection> {
    match container.connect()? {
        Some(connection) => Ok(connection),
        None => anyhow::bail!("container {0} is not running; rtctl start {0} first", container.shown()),
    }
}

/// A request that is answered by [`Reply::Done`].
fn ask(roots: &Roots, query: &str, request: impl FnOnce(&Container) -> Request) -> Result<()> {
    let container = Container::find(roots, query)?;
    let reply = connect(&container)?.request(&request(&container), &[])?;
    match reply {
        Reply::Done => Ok(()),
        other => anyhow::bail!("unexpected answer of the shim: {other:?}"),
    }
}

/// An exit code as this program's own.
pub(crate) fn exit_code(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}
