//! What has to be known of the machine.

use std::path::Path;

use caps::Capability;

use super::devices::DeviceNode;

/// Facts about the machine.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Control group version.
    pub cgroup: CgroupMode,
    /// Bounding set of this process: no container can have more.
    pub bounding: Vec<Capability>,
    /// Device nodes of the machine; only read for privileged containers.
    pub devices: Vec<DeviceNode>,
    /// Whether AppArmor is enabled.
    pub apparmor: bool,
    /// Whether SELinux is enabled.
    pub selinux: bool,
    /// Version of the kernel, major and minor.
    pub kernel: (u32, u32),
    /// Whether memory cgroups count swap.
    pub swap_accounting: bool,
    /// Whether cgroups can limit huge pages.
    pub hugetlb: bool,
}

/// Control group version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Separate hierarchies, perhaps with an additional v2 one.
    #[default]
    V1,
    /// One unified hierarchy.
    V2,
}

impl Host {
    /// Reads the facts, without [`Host::devices`].
    ///
    /// # Errors
    /// When the bounding set or the mount of `/sys/fs/cgroup` cannot be read.
    pub fn read() -> std::io::Result<Host> {
        let bounding = caps::read(None, caps::CapSet::Bounding).map_err(std::io::Error::other)?;
        let mut bounding: Vec<Capability> = bounding.into_iter().collect();
        bounding.sort_by_key(|capability| capability.index());
        // statfs(2): the file system on /sys/fs/cgroup is cgroup2 itself only in unified mode.
        let kind = nix::sys::statfs::statfs("/sys/fs/cgroup")?.filesystem_type();
        let cgroup = if kind == nix::sys::statfs::CGROUP2_SUPER_MAGIC { CgroupMode::V2 } else { CgroupMode::V1 };
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        let apparmor = enabled.is_ok_and(|text| text.first() == Some(&b'Y'));
        let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
        let wrong = || std::io::Error::other(format!("uname: {release:?} is no version of a kernel"));
        let kernel = super::kernel_version(&release).ok_or_else(wrong)?;
        // KERNEL(5.8): the root of cgroup v2 shows no limits, but there a limit of 0 that cannot be written is none that is missed.
        let v1 = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes");
        let swap_accounting = cgroup == CgroupMode::V2 || v1.try_exists()?;
        let hugetlb = match cgroup {
            CgroupMode::V1 => Path::new("/sys/fs/cgroup/hugetlb").try_exists()?,
            CgroupMode::V2 => {
                let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
                controllers.split_whitespace().any(|name| name == "hugetlb")
            }
        };
        let selinux = Path::new("/sys/fs/selinux/enforce").try_exists()?;
        Ok(Host { cgroup, bounding, devices: Vec::new(), apparmor, selinux, kernel, swap_accounting, hugetlb })
    }
}
