//! A container.

use proto::v1;

use super::mount::{device, image, mount};
use super::namespace;
use super::resources::resources;
use super::security::{apparmor, capabilities, groups, groups_policy, seccomp, selinux, user};
use super::syntax::{absolute, below, given, text, texts};
use super::{Invalid, each, signal};
use crate::pod::config::{ContainerConfig, ContainerMetadata, PodConfig};
use crate::spec::cdi::DeviceName;

/// The container that CreateContainer asks for, in a pod that is there. CRI: ContainerConfig
///
/// # Errors
/// The field, from `config` on, and what it may be.
pub(crate) fn container(config: v1::ContainerConfig, pod: &PodConfig) -> Result<ContainerConfig, Invalid> {
    config_of(config, pod).map_err(|error| error.within("config"))
}

#[allow(deprecated, reason = "callers of before 1.19 and 1.30 fill the old fields")]
fn config_of(message: v1::ContainerConfig, pod: &PodConfig) -> Result<ContainerConfig, Invalid> {
    let v1::ContainerConfig {
        metadata,
        image: image_message,
        command,
        args,
        working_dir,
        envs,
        mounts,
        devices,
        labels,
        annotations,
        log_path,
        stdin,
        stdin_once,
        tty,
        linux,
        cdi_devices,
        stop_signal,
    } = message;
    let v1::LinuxContainerConfig { resources: limits, security_context } = linux.unwrap_or_default();
    let v1::LinuxContainerSecurityContext {
        capabilities: capability_lists,
        privileged,
        namespace_options,
        selinux_options,
        run_as_user,
        run_as_group,
        run_as_username,
        readonly_rootfs,
        supplemental_groups,
        supplemental_groups_policy,
        no_new_privs,
        masked_paths,
        readonly_paths,
        seccomp: seccomp_profile,
        apparmor: apparmor_message,
        apparmor_profile,
        seccomp_profile_path,
    } = security_context.unwrap_or_default();
    let security = |error: Invalid| error.within("linux.security_context");
    if privileged && !pod.privileged {
        return Err(security(Invalid::new("privileged", "needs a pod that was made with security_context.privileged")));
    }
    let namespaces = namespace_options.map(|message| namespace::of_container(message, &pod.namespaces)).transpose();
    let Some(image_message) = image_message else {
        return Err(Invalid::new("image", "must be given"));
    };
    Ok(ContainerConfig {
        metadata: self::metadata(metadata)?,
        image: image("image", image_message)?,
        command: texts("command", command)?,
        args: texts("args", args)?,
        working_dir: if working_dir.is_empty() { working_dir } else { absolute("working_dir", working_dir)? },
        envs: each("envs", envs, env)?,
        mounts: each("mounts", mounts, mount)?,
        devices: each("devices", devices, device)?,
        cdi_devices: each("CDI_devices", cdi_devices, cdi_device)?,
        labels: labels.into_iter().collect(),
        annotations: annotations.into_iter().collect(),
        log_path: if log_path.is_empty() { None } else { Some(below("log_path", log_path)?) },
        stdin,
        stdin_once,
        tty,
        stop_signal: signal::number("stop_signal", stop_signal)?,
        resources: resources(limits.unwrap_or_default()).map_err(|error| error.within("linux.resources"))?,
        capabilities: capabilities(capability_lists).map_err(|error| security(error.within("capabilities")))?,
        privileged,
        namespaces: namespaces.map_err(|error| security(error.within("namespace_options")))?,
        selinux: selinux(selinux_options).map_err(security)?,
        user: user(run_as_user, run_as_group, run_as_username).map_err(security)?,
        readonly_rootfs,
        supplemental_groups: groups(&supplemental_groups).map_err(security)?,
        supplemental_groups_policy: groups_policy(supplemental_groups_policy).map_err(security)?,
        no_new_privs,
        masked_paths: paths("masked_paths", masked_paths).map_err(security)?,
        readonly_paths: paths("readonly_paths", readonly_paths).map_err(security)?,
        seccomp: seccomp(seccomp_profile, &seccomp_profile_path).map_err(security)?,
        apparmor: apparmor(apparmor_message, &apparmor_profile).map_err(security)?,
    })
}

fn metadata(message: Option<v1::ContainerMetadata>) -> Result<ContainerMetadata, Invalid> {
    let Some(v1::ContainerMetadata { name, attempt }) = message else {
        return Err(Invalid::new("metadata", "must be given: it names the container"));
    };
    Ok(ContainerMetadata { name: given("metadata.name", name)?, attempt })
}

/// An environment variable: any name without `=`, any value. execve(2) ends both at a NUL.
fn env(message: v1::KeyValue) -> Result<(String, Vec<u8>), Invalid> {
    let v1::KeyValue { key, value } = message;
    let key = given("key", key)?;
    if key.contains('=') {
        return Err(Invalid::new("key", format!("{key:?} must not contain \"=\"")));
    }
    if value.contains(&0) {
        return Err(Invalid::new("value", "must not contain NUL"));
    }
    Ok((key, value))
}

fn cdi_device(message: v1::CdiDevice) -> Result<String, Invalid> {
    let v1::CdiDevice { name } = message;
    let name = text("name", name)?;
    match name.parse::<DeviceName>() {
        Ok(_) => Ok(name),
        Err(error) => Err(Invalid::new("name", error.to_string())),
    }
}

fn paths(field: &str, list: Vec<String>) -> Result<Vec<String>, Invalid> {
    let check = |(index, path)| absolute(&format!("{field}[{index}]"), path);
    list.into_iter().enumerate().map(check).collect()
}
