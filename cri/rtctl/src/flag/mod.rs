//! The command line's values: text to types, one module per kind.
//!
//! Nothing here changes anything. What a flag's value needs from the machine (does the file exist, which device is it) is
//! read in [`create`], when all of the command line has been understood.

pub(crate) mod create;
pub(crate) mod device;
pub(crate) mod env;
pub(crate) mod image_filter;
pub(crate) mod log;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod network_filter;
pub(crate) mod port;
pub(crate) mod refused;
pub(crate) mod resources;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod signal;
pub(crate) mod size;
pub(crate) mod time;
pub(crate) mod ulimit;
pub(crate) mod volume;
pub(crate) mod volume_filter;
