//! Names of block devices.

use std::fs;

/// The name of a block device below /dev, such as `/dev/vda`; its numbers if it has none. sysfs(5), /sys/dev/block
pub fn block_device(major: u32, minor: u32) -> String {
    let target = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok();
    let name = target.as_deref().and_then(|target| target.file_name()).and_then(|name| name.to_str());
    match name {
        Some(name) => format!("/dev/{}", name.replace('!', "/")),
        None => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(block_device(0, 4_000_000), "0:4000000");
        for device in fs::read_dir("/sys/block").into_iter().flatten().take(1) {
            let device = device.unwrap();
            let numbers = fs::read_to_string(device.path().join("dev")).unwrap();
            let (major, minor) = numbers.trim().split_once(':').unwrap();
            let name = device.file_name().into_string().unwrap().replace('!', "/");
            assert_eq!(block_device(major.parse().unwrap(), minor.parse().unwrap()), format!("/dev/{name}"));
        }
    }
}
