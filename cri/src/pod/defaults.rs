//! What the node's settings of this moment give to pods and containers that do not say otherwise.

use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use runtime::spec::Rlimit;

use super::apparmor::is_apparmor_profile_loaded;
use super::engine::Engine;
use super::error::{Error, Io};
use super::plan::Defaults;
use crate::config::{Config, Ulimit};
use crate::daemon::{Limit, inherited_nofile};

/// Largest profile that is read.
const PROFILE_LIMIT: u64 = 1 << 20;

impl Engine {
    /// The defaults for a pod of this handler.
    ///
    /// # Errors
    /// The seccomp profile of the settings cannot be read.
    pub(super) fn defaults(&self, handler: &str) -> Result<Defaults, Error> {
        let config = self.0.settings.daemon.now();
        let seccomp = config.seccomp_default_profile.as_deref().map(read).transpose()?;
        let inherited = inherited_nofile().ok();
        Ok(Defaults {
            rlimits: rlimits(&config, handler, inherited),
            pids_limit: Some(config.pids_limit.get().into()).filter(|limit| *limit > 0),
            seccomp,
            apparmor: is_apparmor_profile_loaded(&config.apparmor_default).then(|| config.apparmor_default.clone()),
            unprivileged_ports: config.unprivileged_ports,
            tolerate_missing_hugetlb: config.tolerate_missing_hugetlb,
            unprivileged_icmp: config.unprivileged_icmp,
            max_log_line: u32::try_from(config.max_log_line.bytes()).ok().and_then(NonZeroU32::new),
            image_volumes: config.image_volumes,
        })
    }
}

/// The handler's limits, then those of all, then what rtd was started with: its own number of descriptors is higher, and is not for
/// containers.
fn rlimits(config: &Config, handler: &str, inherited: Option<Limit>) -> Vec<Rlimit> {
    let handler = if handler.is_empty() { &config.default_handler } else { handler };
    let own = config.handlers.get(handler).into_iter().flat_map(|handler| &handler.default_ulimits);
    let inherited = inherited.map(|Limit { soft, hard }| Rlimit { kind: "RLIMIT_NOFILE".to_owned(), soft, hard });
    let mut all: Vec<Rlimit> = Vec::new();
    for limit in own.chain(&config.default_ulimits).map(Ulimit::rlimit).chain(inherited) {
        if all.iter().all(|known| known.kind != limit.kind) {
            all.push(limit);
        }
    }
    all
}

fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path).io(|| format!("open({path:?}): seccomp_default_profile"))?;
    file.take(PROFILE_LIMIT + 1).read_to_string(&mut text).io(|| format!("read({path:?})"))?;
    if text.len() as u64 > PROFILE_LIMIT {
        let problem = format!("{}: larger than {PROFILE_LIMIT} bytes", path.display());
        return Err(Error::Invalid { field: "seccomp_default_profile".to_owned(), problem });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Handler, Loaded, Setting};

    #[test]
    fn the_nearer_limit_counts() {
        let limits = |texts: &[&str]| -> Vec<Ulimit> {
            let read = |text: &&str| Ulimit::read(&toml::de::DeValue::String((*text).into())).unwrap();
            texts.iter().map(read).collect()
        };
        let mut config = Loaded::defaults().config;
        let inherited = Some(Limit { soft: 1024, hard: 4096 });
        let shown = |config: &Config, handler: &str, inherited| {
            let all = rlimits(config, handler, inherited);
            all.iter().map(|limit| format!("{}={}:{}", limit.kind, limit.soft, limit.hard)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&config, "", None), [""; 0]);
        assert_eq!(shown(&config, "", inherited), ["RLIMIT_NOFILE=1024:4096"]);
        config.default_ulimits = limits(&["nofile=5:6", "core=0"]);
        let handler = Handler { default_ulimits: limits(&["core=7"]), ..Handler::defaults() };
        config.handlers.insert("k".to_owned(), handler);
        assert_eq!(shown(&config, "", inherited), ["RLIMIT_NOFILE=5:6", "RLIMIT_CORE=0:0"]);
        assert_eq!(shown(&config, "k", inherited), ["RLIMIT_CORE=7:7", "RLIMIT_NOFILE=5:6"]);
        config.default_handler = "k".to_owned();
        assert_eq!(shown(&config, "", inherited), ["RLIMIT_CORE=7:7", "RLIMIT_NOFILE=5:6"]);
    }
}
