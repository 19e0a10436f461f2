//! `rtctl rename`

use anyhow::{Context, Result};
use shim::layout::LogTarget;
use shim::local::{Lock, Wait};

use crate::events;
use crate::store::log::NAME_FIELD;
use crate::store::roots::Roots;
use crate::store::view::Container;
use crate::store::{create, name};

/// Give a container another name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rtctl rename web old-web")]
pub(crate) struct Args {
    /// Name or id
    container: String,
    /// The new name
    #[arg(value_parser = name::parse)]
    name: String,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let container = Container::find(roots, &self.container)?;
        let lock = container.directory()?.lock(Wait::Yes)?;
        // It may have got another name while we waited.
        let container = Container::find(roots, &container.id)?;
        let old = container.name.clone().context("its name file cannot be read")?;
        if old == self.name {
            return Ok(0);
        }
        let names = name::lock(roots)?;
        // Between these steps both names lead to it, and the file has both: removal takes both away.
        let file = container.dir.join("name");
        create::write(&file, &format!("{old}\n{}\n", self.name), 0o600)?;
        if let Err(error) = name::claim(roots, &names, &self.name, &container.id) {
            create::write(&file, &old, 0o600)?;
            return Err(error);
        }
        create::write(&file, &format!("{}\n{old}\n", self.name), 0o600)?;
        name::release_own(roots, &old, &container.id)?;
        create::write(&file, &self.name, 0o600)?;
        self.renamed_log(&container, &lock)?;
        if let Ok(record) = &container.record {
            events::container(roots, "rename", record, &self.name, &[("oldName", &old)]);
        }
        Ok(0)
    }

    /// What goes to the journal has the new name from the next start on, as with docker.
    fn renamed_log(&self, container: &Container, lock: &Lock) -> Result<()> {
        let mut task = container.task()?;
        if let Some(LogTarget::Journald { fields, .. }) = &mut task.log {
            fields.insert(NAME_FIELD.to_owned(), self.name.clone());
            container.directory()?.set_task(lock, &task)?;
        }
        Ok(())
    }
}
