//! The table of all keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::choice::{CgroupDriver, ImageVolumes, LogFormat, LogLevel, NetworkKind};
use super::key::keys;
use super::pattern::{AnnotationPattern, ImagePattern};
use super::value::{Endpoint, Number, Size, Span, Ulimit};
use crate::network::Subnet;

keys! {
    /// What the daemon is told: typed, and free of contradictions once [`super::Source::load`] has made it.
    pub struct Config {
        /// Runtime handlers by name. `rt` is always there: the runtime within rtd's own shim.
        pub handlers: BTreeMap<String, Handler>,
    }

    ["Places"]
    /// Directory of images, layers, writable layers and records of the network. It outlives a reboot.
    Restart root: PathBuf = "\"/var/lib/rt\"";
    /// Directory of the state of pods. A tmpfs is best: nothing in it is true after a reboot.
    Restart state: PathBuf = "\"/run/rt\"";
    /// The socket that the kubelet connects to. Only root may (mode 0600).
    Restart listen: PathBuf = "\"/run/rt/rtd.sock\"";
    /// The program rt-shim. Empty: beside rtd.
    Restart shim: Option<PathBuf> = "\"\"";

    ["Pods and containers"]
    /// Who makes cgroups: rtd in the file system, or systemd as slices and scopes. The kubelet asks for it (RuntimeConfig).
    /// auto: systemd where it is process 1, else cgroupfs.
    Restart cgroup_driver: CgroupDriver = "\"auto\"";
    /// The runtime handler of pods that name none (no RuntimeClass).
    Live default_handler: String = "\"rt\"";
    /// Resource limits of containers, NAME=SOFT[:HARD] with the names of ulimit(1), such as "nofile=1024:524288".
    /// What is not named here is as rtd was started with.
    Live default_ulimits: Vec<Ulimit> = "[]";
    /// Most tasks of a container, where the kubelet sets no limit for the pod. 0: no limit.
    Live pids_limit: Number<0, 4_194_304> = "0";
    /// Profile of containers that ask for RuntimeDefault: a file in the format of docker. Empty: the built-in one.
    Live seccomp_default_profile: Option<PathBuf> = "\"\"";
    /// AppArmor profile of containers that ask for RuntimeDefault, and of those that ask for nothing. Where it is not loaded they have none.
    Live apparmor_default: String = "\"rt-default\"";
    /// Pods may listen on all ports without a capability (net.ipv4.ip_unprivileged_port_start=0), unless they say otherwise
    /// or share the node's network.
    Live unprivileged_ports: bool = "true";
    /// Pods may ping without a capability (net.ipv4.ping_group_range), unless they say otherwise, share the node's network
    /// or have a user namespace.
    Live unprivileged_icmp: bool = "true";
    /// Limits of huge pages are left out where the kernel has no such controller. false: the container is refused.
    Live tolerate_missing_hugetlb: bool = "true";
    /// Directories that an image declares as volumes. private: each container has its own, with a copy of what the image has there,
    /// writable also where the root file system is not; it goes with the container. ignore: they are as in the image.
    Live image_volumes: ImageVolumes = "\"private\"";
    /// Directories of the files that describe CDI devices; the last one wins.
    Restart cdi_spec_dirs: Vec<PathBuf> = "[\"/etc/cdi\", \"/var/run/cdi\"]";
    /// Longest line of a log in one piece; longer ones are cut and marked P.
    Live max_log_line: Size<1024, 1_048_576> = "\"16KiB\"";

    ["Streams of exec, attach and port-forward"]
    /// Address that the kubelet connects to for streams. Anybody who can reach it still needs an address that is good once.
    Restart stream_address: IpAddr = "\"127.0.0.1\"";
    /// Port of it. 0: any free one.
    Restart stream_port: u16 = "0";
    /// For how long nothing may move on a stream. "0": for ever.
    Restart stream_idle_timeout: Span = "\"4h\"";
    /// Certificate chain (PEM). With it streams are TLS. Empty: plain HTTP.
    Restart stream_tls_cert: Option<PathBuf> = "\"\"";
    /// Private key (PEM) of the certificate.
    Restart stream_tls_key: Option<PathBuf> = "\"\"";
    /// Authorities (PEM) of which a client must show a certificate. Empty: none is asked for.
    Restart stream_tls_client_ca: Option<PathBuf> = "\"\"";

    ["Images"]
    /// Directories with HOST/hosts.toml: mirrors and certificates of registries. The first that has one for a host counts.
    Restart registries_dirs: Vec<PathBuf> = "[\"/etc/rt/certs.d\", \"/etc/containerd/certs.d\"]";
    /// Credentials for pulls that bring none: a file in the format of docker's config.json, which need not be there. Empty: none.
    Live auth_file: Option<PathBuf> = "\"\"";
    /// Most transfers of layers at once, of all pulls together.
    Restart max_parallel_layers: Number<1, 64> = "6";
    /// Most ranges of one layer that are fetched at once, as far as max_parallel_layers has room. 1: each layer is one stream.
    Restart max_layer_ranges: Number<1, 16> = "4";
    /// Size of such a range. Layers of less than two are one stream. For each transfer beyond the first of a layer as much memory is in use.
    Restart layer_range_size: Size<1_048_576, 67_108_864> = "\"8MiB\"";
    /// For how long a connection to a registry may take to come about.
    Restart registry_connect_timeout: Span = "\"30s\"";
    /// For how long a transfer may stand still before it is resumed.
    Restart pull_progress_timeout: Span = "\"1m\"";
    /// How often a request is made again after a failure that may pass.
    Restart pull_retries: Number<0, 100> = "5";
    /// Keep layers as the registry sent them, too: images can be saved, pushed and repaired. false: they take half the space.
    Live keep_blobs: bool = "true";
    /// Images that the kubelet must never remove: names, or beginnings of names with a * behind.
    Live pinned_images: Vec<ImagePattern> = "[]";

    ["Network of pods"]
    /// cni: plugins as configured in cni_conf_dir. bridge: the built-in bridge. auto: bridge as long as there is no CNI
    /// configuration.
    Restart network: NetworkKind = "\"auto\"";
    /// Directory of CNI configurations; the first by name counts. Changes in it count at once.
    Restart cni_conf_dir: PathBuf = "\"/etc/cni/net.d\"";
    /// Directories of CNI plugins.
    Restart cni_bin_dirs: Vec<PathBuf> = "[\"/opt/cni/bin\", \"/usr/lib/cni\"]";
    /// Subnets of pods on the built-in bridge, one of a family at most. Empty: those that the kubelet tells as the node's, else
    /// the default network of rtctl, which has a free one.
    Restart pod_cidrs: Vec<Subnet> = "[]";

    ["Logs, metrics and traces"]
    /// What is logged: the level and all more urgent ones.
    Live log_level: LogLevel = "\"info\"";
    /// How: lines for people, or a JSON object a line.
    Restart log_format: LogFormat = "\"text\"";
    /// Address and port where http://…/metrics answers, without any check of who asks: best on loopback. Empty: nowhere.
    Restart metrics_listen: Option<SocketAddr> = "\"\"";
    /// Collector of traces, OTLP by gRPC without TLS: "http://127.0.0.1:4317". Empty: none.
    Restart otlp_endpoint: Option<Endpoint> = "\"\"";
    /// Of a million calls that are not part of a trace of the kubelet's, how many are traced. The kubelet decides of its own.
    Restart otlp_samples_per_million: Number<0, 1_000_000> = "1_000_000";
}

impl Config {
    /// How registries are reached.
    #[must_use]
    pub fn registry(&self) -> crate::image::registry::Config {
        crate::image::registry::Config {
            hosts_dirs: self.registries_dirs.clone(),
            connect_timeout: self.registry_connect_timeout.get(),
            idle_timeout: self.pull_progress_timeout.get(),
            downloads: self.max_parallel_layers.get() as usize,
            ranges: self.max_layer_ranges.get() as usize,
            range_bytes: self.layer_range_size.bytes(),
            retries: self.pull_retries.get(),
            ..Default::default()
        }
    }
}

keys! {
    /// A runtime handler: what runs the containers of the pods of a RuntimeClass.
    pub struct Handler {}

    ["A handler: [handlers.NAME]"]
    /// An OCI command line, such as "/usr/bin/crun". Empty: the runtime within rtd's own shim.
    Live path: Option<PathBuf> = "\"\"";
    /// Arguments before its verb.
    Live args: Vec<String> = "[]";
    /// Directory of its state, its --root. Empty: one for each pod, which nobody but its shim sees and which goes along with it.
    Live root: Option<PathBuf> = "\"\"";
    /// A config.json that the containers' own settings are laid over; it is read for each new container. Empty: none.
    Live base_spec: Option<PathBuf> = "\"\"";
    /// Annotations of pods and containers that it gets to see: names, or beginnings of names with a * behind.
    Live annotations: Vec<AnnotationPattern> = "[]";
    /// As the key of all handlers, for those of its limits that this list names.
    Live default_ulimits: Vec<Ulimit> = "[]";
    /// Privileged containers do not get all devices of the node.
    Live privileged_without_host_devices: bool = "false";
}
