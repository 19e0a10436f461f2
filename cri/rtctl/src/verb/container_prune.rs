//! `rtctl container prune`

use std::time::SystemTime;

use anyhow::Result;
use shim::local::{Directory, Wait};

use crate::flag::time;
use crate::output::confirm::confirm;
use crate::output::{human, say};
use crate::store::remove::{Force, remove_with};
use crate::store::roots::Roots;
use crate::store::view::{Container, Phase};

/// Remove all containers that do not run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl container prune -f --filter until=24h --filter label!=keep")]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: until, label, label!
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
}

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    /// Made before: nanoseconds since the epoch.
    Until(u64),
    Label(String, Option<String>),
    NotLabel(String, Option<String>),
}

fn filter(text: &str) -> Result<Filter, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: write it as NAME=VALUE"))?;
    let pair = || match value.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (value.to_owned(), None),
    };
    match name {
        "until" => Ok(Filter::Until(time::moment(value, SystemTime::now())?)),
        "label" => Ok(Filter::Label(pair().0, pair().1)),
        "label!" => Ok(Filter::NotLabel(pair().0, pair().1)),
        _ => Err(format!("unknown filter {name:?}: must be until, label or label!")),
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        if !self.force && !confirm("This removes all containers that do not run, with what they wrote. Go on?")? {
            return Ok(0);
        }
        let (mut freed, mut code, mut removed) = (0, 0, Vec::new());
        for container in Container::list(roots)? {
            if !self.meant(&container) {
                continue;
            }
            let bytes = cri::disk::usage(&roots.upper(&container.id)).unwrap_or(0);
            match self.one(roots, &container.id) {
                Ok(true) => {
                    freed += bytes;
                    removed.push(container.id);
                }
                Ok(false) => {}
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if !removed.is_empty() {
            say(&format!("Deleted Containers:\n{}\n", removed.join("\n")))?;
        }
        say(&format!("Total reclaimed space: {}", human::decimal_size(freed)))?;
        Ok(code)
    }

    /// Removes it, unless somebody else is at it or it was started meanwhile.
    fn one(&self, roots: &Roots, id: &str) -> Result<bool> {
        let Some(directory) = Directory::open(&roots.container(id))? else { return Ok(false) };
        let lock = match directory.lock(Wait::No) {
            Err(shim::local::Error::Busy(_) | shim::local::Error::Removed(_)) => return Ok(false),
            lock => lock?,
        };
        match Container::load(roots, id)? {
            Some(container) if self.meant(&container) => {}
            Some(_) | None => return Ok(false),
        }
        remove_with(roots, id, &lock, Force::No, &[])?;
        Ok(true)
    }

    fn meant(&self, container: &Container) -> bool {
        match container.phase() {
            Phase::Created | Phase::Exited => {}
            Phase::Running | Phase::Paused | Phase::Restarting | Phase::Removing | Phase::Dead => return false,
        }
        let Ok(record) = &container.record else { return false };
        let has = |name: &String, value: &Option<String>| {
            let found = record.config.labels.get(name);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.filter.iter().all(|filter| match filter {
            Filter::Until(moment) => record.created < *moment,
            Filter::Label(name, value) => has(name, value),
            Filter::NotLabel(name, value) => !has(name, value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        assert_eq!(filter("label!=a=b"), Ok(Filter::NotLabel("a".to_owned(), Some("b".to_owned()))));
        assert!(matches!(filter("until=1h"), Ok(Filter::Until(_))));
        assert!(filter("status=exited").is_err() && filter("until").is_err());
    }
}
