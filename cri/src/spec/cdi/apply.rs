//! Edits put into a configuration.

use runtime::spec::{self, Device, DeviceRule, Spec};

use super::{Edits, Hook, Mount, Node};

/// Puts completed edits into a configuration: a variable, node or mount that is there already is replaced.
pub fn apply(edits: &Edits, spec: &mut Spec) {
    let user = spec.process.as_ref().map(|process| (process.user.uid, process.user.gid));
    for node in &edits.device_nodes {
        add_node(node, user.unwrap_or_default(), spec);
    }
    for mount in &edits.mounts {
        add_mount(mount, spec);
    }
    // A mount must come after those it lies in; the sort is stable.
    let depth = |path: &str| path.split('/').filter(|part| !part.is_empty() && *part != ".").count();
    if !edits.mounts.is_empty() {
        spec.mounts.sort_by_key(|mount| depth(&mount.destination));
    }
    for hook in &edits.hooks {
        add_hook(hook, spec);
    }
    let Some(process) = &mut spec.process else { return };
    for entry in &edits.env {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let wanted = name(entry);
        match process.env.iter_mut().find(|old| name(old) == wanted) {
            Some(old) => old.clone_from(entry),
            None => process.env.push(entry.clone()),
        }
    }
    for gid in &edits.additional_gids {
        // Group 0 is never given this way, as the specification asks.
        if *gid != 0 && !process.user.additional_gids.contains(gid) {
            process.user.additional_gids.push(*gid);
        }
    }
}

fn add_node(node: &Node, (uid, gid): (u32, u32), spec: &mut Spec) {
    let linux = spec.linux.get_or_insert_default();
    let kind = node.kind.clone().unwrap_or_else(|| "c".to_owned());
    let (major, minor) = (node.major.unwrap_or(0), node.minor.unwrap_or(0));
    linux.devices.retain(|device| device.path != node.path);
    linux.devices.push(Device {
        kind: kind.clone(),
        path: node.path.clone(),
        major,
        minor,
        file_mode: node.file_mode,
        uid: node.uid.or(Some(uid).filter(|uid| *uid != 0)),
        gid: node.gid.or(Some(gid).filter(|gid| *gid != 0)),
    });
    if kind == "p" {
        return;
    }
    let access = node.permissions.clone().filter(|access| !access.is_empty()).unwrap_or_else(|| "rwm".to_owned());
    linux.resources.get_or_insert_default().devices.push(DeviceRule {
        allow: true,
        kind: Some(if kind == "b" { "b" } else { "c" }.to_owned()),
        major: Some(major),
        minor: Some(minor),
        access: Some(access),
    });
}

fn add_mount(mount: &Mount, spec: &mut Spec) {
    spec.mounts.retain(|old| old.destination != mount.container_path);
    let kind = mount.kind.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "bind".to_owned());
    spec.mounts.push(spec::Mount {
        destination: mount.container_path.clone(),
        kind: Some(kind),
        source: Some(mount.host_path.clone()),
        options: mount.options.clone(),
        ..spec::Mount::default()
    });
}

fn add_hook(hook: &Hook, spec: &mut Spec) {
    let hooks = spec.hooks.get_or_insert_default();
    let list = match hook.hook_name.as_str() {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        // The document's check knows no other.
        _ => &mut hooks.poststop,
    };
    let Hook { path, args, env, timeout, .. } = hook.clone();
    list.push(spec::Hook { path, args, env, timeout });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn before() -> Spec {
        serde_json::from_value(json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["x"], "cwd": "/", "env": ["PATH=/bin", "A=old"], "user": {"uid": 7, "gid": 0, "additionalGids": [5]}},
            "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/lib/gpu", "type": "tmpfs"}],
            "linux": {"devices": [{"type": "c", "path": "/dev/gpu", "major": 1, "minor": 1}]},
        }))
        .unwrap()
    }

    #[test]
    fn everything_arrives() {
        let edits: Edits = serde_json::from_value(json!({
            "env": ["A=new", "B=1"],
            "deviceNodes": [
                {"path": "/dev/gpu", "type": "c", "major": 195, "minor": 0, "permissions": "rw", "gid": 44},
                {"path": "/dev/pipe", "type": "p"},
            ],
            "mounts": [
                {"hostPath": "/lib/gpu/a", "containerPath": "/lib/gpu/a/b", "options": ["ro", "rbind"]},
                {"hostPath": "/lib/gpu", "containerPath": "/lib/gpu", "type": "bind", "options": ["ro"]},
            ],
            "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "x"], "timeout": 3}],
            "additionalGids": [5, 44, 0],
        }))
        .unwrap();
        let mut spec = before();
        apply(&edits, &mut spec);
        let process = spec.process.unwrap();
        assert_eq!(process.env, ["PATH=/bin", "A=new", "B=1"]);
        assert_eq!(process.user.additional_gids, [5, 44]);
        let linux = spec.linux.unwrap();
        let node = |index: usize| {
            (
                linux.devices[index].path.as_str(),
                linux.devices[index].major,
                linux.devices[index].uid,
                linux.devices[index].gid,
            )
        };
        assert_eq!((node(0), node(1)), (("/dev/gpu", 195, Some(7), Some(44)), ("/dev/pipe", 0, Some(7), None)));
        let rules = linux.resources.unwrap().devices;
        assert_eq!(rules.len(), 1);
        assert_eq!((rules[0].allow, rules[0].major, rules[0].access.as_deref()), (true, Some(195), Some("rw")));
        let mounts: Vec<(&str, Option<&str>)> =
            spec.mounts.iter().map(|mount| (mount.destination.as_str(), mount.kind.as_deref())).collect();
        assert_eq!(mounts, [("/proc", Some("proc")), ("/lib/gpu", Some("bind")), ("/lib/gpu/a/b", Some("bind"))]);
        let hook = &spec.hooks.unwrap().create_container[0];
        assert_eq!((hook.path.as_str(), hook.args.len(), hook.timeout), ("/bin/hook", 2, Some(3)));
    }

    #[test]
    fn nothing_changes_nothing() {
        let mut spec = before();
        let text = serde_json::to_string(&spec).unwrap();
        apply(&Edits::default(), &mut spec);
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
    }
}
