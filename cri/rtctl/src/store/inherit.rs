//! `--volumes-from`: what another container has mounted.

use anyhow::{Result, bail};
use cri::spec::Propagation;

use super::record::{MountKind, MountPoint, Record};
use super::roots::Roots;
use super::view::Container;
use crate::flag::volume::{Missing, MountFlag, NewVolume, Source, VolumesFrom};

/// The mounts of other containers, the first one's first; of two at one place the first stays.
pub(super) fn mounts(roots: &Roots, flags: &[VolumesFrom]) -> Result<Vec<MountFlag>> {
    let mut mounts: Vec<MountFlag> = Vec::new();
    for flag in flags {
        let container = Container::find(roots, &flag.container)?;
        let record = container.record()?;
        refuse_short_lived(container.shown(), record)?;
        for mount in record.mounts.iter().filter_map(|point| mount(point, flag)) {
            if !mounts.iter().any(|other| other.destination == mount.destination) {
                mounts.push(mount);
            }
        }
    }
    Ok(mounts)
}

/// A container with `--rm` takes its anonymous volumes along when it ends, whoever else uses them.
fn refuse_short_lived(shown: &str, record: &Record) -> Result<()> {
    for point in &record.mounts {
        if let MountKind::Volume { anonymous: true, .. } = &point.kind
            && record.host.auto_remove
        {
            bail!(
                "container {shown} was made with --rm: when it ends, its anonymous volume at {0} goes with it; give it a \
                 name (-v NAME:{0}), or leave out --rm",
                point.destination
            );
        }
    }
    Ok(())
}

fn mount(point: &MountPoint, flag: &VolumesFrom) -> Option<MountFlag> {
    let source = match &point.kind {
        // As --mount: what is gone is not made again.
        MountKind::Bind => Source::Bind { path: point.source.clone(), missing: Missing::Refuse },
        MountKind::Volume { name, subpath, .. } => Source::Volume {
            name: Some(name.clone()),
            copy: false,
            subpath: subpath.clone(),
            new: NewVolume::default(),
        },
        MountKind::Image { id, subpath } => Source::Image { name: id.clone(), subpath: subpath.clone() },
        MountKind::Tmpfs => return None,
    };
    Some(MountFlag {
        destination: point.destination.clone(),
        source,
        read_only: flag.read_only || point.read_only,
        propagation: Propagation::parse(&point.propagation).unwrap_or_default(),
        recursion: point.recursion,
        id_map: point.id_map,
        relabel: flag.relabel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_only_stays_so() {
        let point = |kind, read_only| MountPoint {
            kind,
            source: "/srv".to_owned(),
            destination: "/data".to_owned(),
            options: String::new(),
            read_only,
            propagation: "rslave".to_owned(),
            recursion: cri::spec::BindRecursion::Disabled,
            id_map: false,
        };
        let from = |read_only| VolumesFrom { container: String::new(), read_only, relabel: None };
        for (own, asked, expected) in [(false, false, false), (true, false, true), (false, true, true)] {
            let mount = mount(&point(MountKind::Bind, own), &from(asked)).unwrap();
            assert_eq!(mount.read_only, expected);
            assert_eq!(mount.propagation, Propagation::RSlave);
            assert_eq!(mount.recursion, cri::spec::BindRecursion::Disabled);
            assert_eq!(mount.source, Source::Bind { path: "/srv".to_owned(), missing: Missing::Refuse });
        }
        assert_eq!(mount(&point(MountKind::Tmpfs, false), &from(false)), None);
    }
}
