//! `rtctl update`

use anyhow::{Result, bail};
use shim::layout::RestartPolicy;
use shim::local::Wait;
use shim::protocol::{Reply, Request};

use crate::events;
use crate::flag::resources::ResourceFlags;
use crate::flag::restart;
use crate::store::roots::Roots;
use crate::store::view::Container;

/// Change limits or the restart policy of containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl update -m 128m --cpus 2 web\n  rtctl update --restart unless-stopped web")]
pub(crate) struct Args {
    #[command(flatten)]
    resources: ResourceFlags,
    /// Restart policy: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::parse)]
    restart: Option<RestartPolicy>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let resources = self.resources.resources()?;
        if self.resources.is_empty() && self.restart.is_none() {
            bail!("nothing to change: give a limit or --restart");
        }
        let resources = (!self.resources.is_empty()).then_some(resources);
        Ok(super::each(&self.containers, |query| self.one(roots, query, resources.as_ref())))
    }

    fn one(&self, roots: &Roots, query: &str, resources: Option<&runtime::spec::Resources>) -> Result<()> {
        let container = Container::find(roots, query)?;
        self.change(&container, resources)?;
        events::container(roots, "update", container.record()?, container.shown(), &[]);
        Ok(())
    }

    fn change(&self, container: &Container, resources: Option<&runtime::spec::Resources>) -> Result<()> {
        let record = container.record()?;
        if record.host.auto_remove && self.restart.is_some_and(|policy| policy != RestartPolicy::No) {
            bail!("container {}: a restart policy makes no sense with --rm", container.shown());
        }
        let directory = container.directory()?;
        let lock = directory.lock(Wait::Yes)?;
        if let Some(connection) = container.connect()? {
            let request = Request::Update {
                container: container.id.clone(),
                resources: resources.cloned().map(Box::new),
                restart: self.restart,
                oom_score_adj: None,
            };
            return match connection.request(&request, &[])? {
                Reply::Done => Ok(()),
                other => bail!("unexpected answer of the shim: {other:?}"),
            };
        }
        if let Some(resources) = resources {
            shim::update::rewrite(&directory, resources, None)?;
        }
        if let Some(restart) = self.restart {
            let mut task = container.task()?;
            task.restart = restart;
            directory.set_task(&lock, &task)?;
        }
        Ok(())
    }
}
