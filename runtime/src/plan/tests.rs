use super::*;

fn plan(json: &str) -> Result<Plan, String> {
    let spec: Spec = spec::parse("config.json", json.as_bytes()).map_err(|error| error.to_string())?;
    Plan::new(&spec).map_err(|error| error.to_string())
}

fn with(members: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},"process":{{"args":["true"],"cwd":"/"}},
            "linux":{{"namespaces":[{{"type":"mount"}},{{"type":"pid"}}]}}{members}}}"#
    )
}

fn with_linux(members: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},"process":{{"args":["true"],"cwd":"/"}},
            "linux":{{"namespaces":[{{"type":"mount"}},{{"type":"pid"}}],{members}}}}}"#
    )
}

#[test]
fn a_small_document() {
    let plan = plan(&with("")).unwrap();
    assert_eq!(plan.devices.len(), 6);
    assert_eq!(plan.root_propagation, (libc::MS_PRIVATE, Depth::Recursive));
    assert_eq!(plan.namespaces.clone_flags(), u64::from((libc::CLONE_NEWNS | libc::CLONE_NEWPID).cast_unsigned()));
}

#[test]
fn names_the_member_that_is_wrong() {
    for (json, message) in [
        (with(r#","hostname":"x""#), "hostname: needs a uts namespace in linux.namespaces"),
        (with(r#","mounts":[{"destination":"/x"}]"#), "mounts[0].type: is missing"),
        (with(r#","mounts":[{"destination":""}]"#), "mounts[0].destination: must be a path in the container"),
        (
            with(r#","mounts":[{"destination":"/x","type":"bind"}]"#),
            "mounts[0].source: a bind mount needs a file or directory",
        ),
        (
            with(r#","mounts":[{"destination":"/x","type":"bind","source":"/y","options":["size=1"]}]"#),
            "mounts[0].options: \"size\" means nothing for a bind mount",
        ),
        (with(r#","hooks":{"poststop":[{"path":"x"}]}"#), "hooks.poststop[0].path: \"x\" is not an absolute path"),
        (with_linux(r#""personality":{"domain":"LINUX32"}"#), "linux.personality: is not built yet"),
        (with_linux(r#""maskedPaths":["proc"]"#), "linux.maskedPaths[0]: \"proc\" is not an absolute path"),
        (
            with_linux(r#""uidMappings":[{"containerID":0,"hostID":1,"size":1}]"#),
            "linux.uidMappings: needs a user namespace in linux.namespaces",
        ),
        (
            with_linux(r#""devices":[{"type":"x","path":"/dev/x"}]"#),
            "linux.devices[0].type: \"x\" is none of c, b, u, p",
        ),
        (
            with_linux(r#""devices":[{"type":"c","path":"/dev/x","major":-1}]"#),
            "linux.devices[0].major: -1 is not from 0 to 4095",
        ),
        (
            with_linux(r#""rootfsPropagation":"loud""#),
            "linux.rootfsPropagation: \"loud\" is none of private, shared, slave, unbindable and their r forms",
        ),
        (with("").replace("1.2.0", "2.0.0"), "ociVersion: \"2.0.0\" is not supported, only 1.x.y is"),
        (
            with("").replace(r#"{"type":"pid"}"#, r#"{"type":"mount"}"#),
            "linux.namespaces[1].type: mount is given twice",
        ),
        (with("").replace(r#""args":["true"],"#, ""), "process.args: needs at least the name of a program"),
    ] {
        let Err(error) = plan(&json) else { panic!("{json} was taken") };
        assert_eq!(error, format!("config.json: {message}"));
    }
}

#[test]
fn wrong_types_are_named_by_path() {
    for (json, start) in [
        (with("").replace(r#""/""#, "7"), "config.json: process.cwd: invalid type: integer `7`"),
        (
            with_linux(r#""resources":{"memory":{"limit":"1g"}}"#),
            "config.json: linux.resources.memory.limit: invalid type",
        ),
        (with("").replace("pid", "pidx"), "config.json: linux.namespaces[1].type: unknown variant `pidx`"),
        ("{".to_owned(), "config.json: ?: EOF"),
        (r#"{"root":{}}"#.to_owned(), "config.json: root: missing field `path`"),
    ] {
        let Err(error) = plan(&json) else { panic!("{json} was taken") };
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_document_device_replaces_a_default_one() {
    let plan =
        plan(&with_linux(r#""devices":[{"type":"c","path":"/dev/null","major":1,"minor":3,"fileMode":384}]"#)).unwrap();
    assert_eq!(plan.devices.len(), 6);
    assert_eq!(plan.devices[0].mode, 0o600);
}

#[test]
fn no_devices_where_dev_is_bound() {
    let plan = plan(&with(r#","mounts":[{"destination":"/dev/","type":"bind","source":"/dev"}]"#)).unwrap();
    assert!(plan.devices.is_empty() && !plan.populate_dev);
}
