//! Standalone containers on disk: `shim::layout` has the picture.
//!
//! | file | writer |
//! |---|---|
//! | `container.json` | [`create`], last of all; never changed |
//! | `config.json`, `shim.json` | [`create`], then the shim |
//! | `status.json` | the shim |
//! | `name`, `names/<name>` | [`name`], under the lock of all names |
//!
//! Reading takes no lock: every file is replaced as a whole. A record that cannot be read is shown as such and never taken
//! for something else.

pub(crate) mod changes;
pub(crate) mod create;
mod draft;
pub(crate) mod endpoint;
pub(crate) mod etc;
pub(crate) mod hosts;
pub(crate) mod id;
mod inherit;
pub(crate) mod layers;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod network;
mod plan;
mod plan_network;
pub(crate) mod pod;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod roots;
pub(crate) mod selinux;
pub(crate) mod start;
pub(crate) mod view;
pub(crate) mod volume;
