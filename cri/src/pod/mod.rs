//! Pods: the engine behind the calls of a kubelet. It knows no messages.
//!
//! ```text
//!  config   what was asked for                 plan     what it comes to (pure)
//!  engine   all pods; who is asked             run, stop, remove, container_*: an operation each
//!  flight   the same asked again joins         watch    exits and deaths
//!  record   the files                          recover  what an earlier daemon left
//! ```

mod apparmor;
pub mod config;
mod container_create;
mod container_log;
mod container_remove;
mod container_start;
mod container_stop;
mod container_update;
mod defaults;
mod device;
mod engine;
mod error;
mod event;
mod exec;
mod figures;
mod files;
mod flight;
mod handler;
mod id;
mod network;
mod plan;
mod pod_subnets;
mod port_forward;
mod propagation;
mod record;
mod recover;
mod remove;
mod run;
mod selinux;
mod shim_peer;
mod state;
mod status;
mod stop;
mod undo;
mod usage;
mod watch;

pub use apparmor::{APPARMOR_PROFILES, is_apparmor_profile_loaded};
pub use engine::{Engine, Settings};
pub use error::{Error, Kind};
pub use event::{Event, EventKind};
pub use exec::{Executed, OUTPUT_LIMIT};
pub use flight::Patience;
pub use handler::Features;
pub use id::Id;
pub use network::Choice as NetworkChoice;
pub use plan::Defaults;
pub use record::{ContainerRecord, NetworkKind, NetworkRecord, PodRecord, PodResources, UserRecord};
pub use state::{ContainerState, ContainerView, Ended, OOM_KILLED, PodView};
pub use status::Readiness;
pub use usage::user_of_image;
