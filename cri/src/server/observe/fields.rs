//! Ids and names out of the first bytes of a message, without decoding it.

/// Where a field of the span is in a message: the numbers of the fields that lead to it.
type Path = &'static [u32];

const POD: &str = "pod";
const CONTAINER: &str = "container";
const POD_NAME: &str = "pod_name";
const CONTAINER_NAME: &str = "container_name";
const NAMESPACE: &str = "namespace";
const IMAGE: &str = "image";

/// What a request tells.
pub(super) fn of_request(method: &str) -> &'static [(&'static str, Path)] {
    match method {
        // config.metadata: name and namespace.
        "RunPodSandbox" => &[(POD_NAME, &[1, 1, 1]), (NAMESPACE, &[1, 1, 3])],
        "StopPodSandbox"
        | "RemovePodSandbox"
        | "PodSandboxStatus"
        | "PortForward"
        | "PodSandboxStats"
        | "UpdatePodSandboxResources"
        | "CheckpointPod" => &[(POD, &[1])],
        "CreateContainer" => &[(POD, &[1]), (CONTAINER_NAME, &[2, 1, 1])],
        "StartContainer"
        | "StopContainer"
        | "RemoveContainer"
        | "ContainerStatus"
        | "UpdateContainerResources"
        | "ReopenContainerLog"
        | "ExecSync"
        | "Exec"
        | "Attach"
        | "ContainerStats"
        | "CheckpointContainer" => &[(CONTAINER, &[1])],
        "PullImage" | "ImageStatus" | "RemoveImage" => &[(IMAGE, &[1, 1])],
        _ => &[],
    }
}

/// What a response tells.
pub(super) fn of_response(method: &str) -> &'static [(&'static str, Path)] {
    match method {
        "RunPodSandbox" => &[(POD, &[1])],
        "CreateContainer" => &[(CONTAINER, &[1])],
        _ => &[],
    }
}

/// Longest text that is shown, in bytes; ids have 64 digits.
const SHOWN: usize = 256;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The text at `path` of the message that a first frame begins; none where it is not there, or is not in this frame.
pub(super) fn text(frame: &[u8], path: Path) -> Option<&str> {
    let [0, ..] = frame else { return None };
    let mut message = frame.get(PREFIX..)?;
    for number in path {
        message = inner(message, *number)?;
    }
    let message = &message[..message.len().min(SHOWN)];
    match std::str::from_utf8(message) {
        Ok(text) => Some(text),
        Err(error) => std::str::from_utf8(&message[..error.valid_up_to()]).ok(),
    }
    .filter(|text| !text.is_empty())
}

/// A field with a length, or what there is of it. Protocol Buffers, encoding
fn inner(mut message: &[u8], number: u32) -> Option<&[u8]> {
    loop {
        let key = varint(&mut message)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut message)?;
                0
            }
            1 => 8,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                if key >> 3 == u64::from(number) {
                    return Some(&message[..length.min(message.len())]);
                }
                length
            }
            5 => 4,
            _ => return None,
        };
        message = message.get(skip..)?;
    }
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use proto::v1::*;

    use super::*;

    fn frame(message: &impl Message) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 0, 0];
        frame.extend(message.encode_to_vec());
        frame
    }

    fn shown(method: &str, message: &impl Message) -> Vec<(&'static str, String)> {
        let frame = frame(message);
        let fields = of_request(method).iter().chain(of_response(method));
        fields.filter_map(|(name, path)| Some((*name, text(&frame, path)?.to_owned()))).collect()
    }

    #[test]
    fn requests() {
        let metadata = PodSandboxMetadata { name: "web".into(), uid: "u".into(), namespace: "n".into(), attempt: 7 };
        let config = PodSandboxConfig { metadata: Some(metadata), hostname: "h".into(), ..Default::default() };
        let run = RunPodSandboxRequest { config: Some(config), runtime_handler: "x".into() };
        let found = |(_, path): &(&str, Path)| text(&frame(&run), path).map(str::to_owned);
        let found: Vec<_> = of_request("RunPodSandbox").iter().map(found).collect();
        assert_eq!(found, [Some("web".to_owned()), Some("n".to_owned())]);
        let metadata = ContainerMetadata { name: "main".into(), attempt: 3 };
        let config = ContainerConfig { metadata: Some(metadata), ..Default::default() };
        let create = CreateContainerRequest { pod_sandbox_id: "p1".into(), config: Some(config), sandbox_config: None };
        let create = frame(&create);
        let found = of_request("CreateContainer").iter().map(|(_, path)| text(&create, path));
        assert_eq!(found.collect::<Vec<_>>(), [Some("p1"), Some("main")]);
        let stop = StopContainerRequest { container_id: "c1".into(), timeout: 10 };
        assert_eq!(shown("StopContainer", &stop), [("container", "c1".to_owned())]);
        let image = Some(ImageSpec { image: "busybox:1".into(), ..Default::default() });
        let auth = Some(AuthConfig { username: "me".into(), password: "hunter2".into(), ..Default::default() });
        let pull = PullImageRequest { image, auth, sandbox_config: None };
        assert_eq!(shown("PullImage", &pull), [("image", "busybox:1".to_owned())]);
        assert_eq!(shown("ListContainers", &ListContainersRequest::default()), []);
        assert_eq!(shown("StopContainer", &StopContainerRequest::default()), []);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let stop = StopPodSandboxRequest { pod_sandbox_id: "ä".repeat(300) };
        assert_eq!(text(&frame(&stop), &[1]), Some("ä".repeat(128).as_str()));
        let stop = StopPodSandboxRequest { pod_sandbox_id: format!("x{}", "ä".repeat(300)) };
        assert_eq!(text(&frame(&stop), &[1]).map(str::len), Some(255));
        // Compressed.
        assert_eq!(text(&[1, 0, 0, 0, 0, 10, 1, 65], &[1]), None);
        // Only a part of it is here.
        assert_eq!(text(&[0, 0, 0, 0, 9, 10, 7, 65, 66], &[1]), Some("AB"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for path in [&[1][..], &[1, 1, 1], &[2, 1, 1]] {
                let path: Path = Box::leak(path.to_vec().into_boxed_slice());
                let _ = text(&bytes, path);
            }
        }
    }
}
