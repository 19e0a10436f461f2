//! What docker has and this program does not have yet: refused by name, never ignored.

/// Flags and what to do instead.
const FLAGS: &[(&str, &str)] = &[
    ("--link-local-ip", "give another address with --ip"),
    ("--log-driver", "output goes to the container's log file, which rtctl logs shows"),
    ("--log-opt", "output goes to the container's log file, which rtctl logs shows"),
    ("--publish", "ports come with the bridge network; use --network host and the container's own port"),
    ("-p", "ports come with the bridge network; use --network host and the container's own port"),
    ("--publish-all", "ports come with the bridge network; use --network host"),
    ("-P", "ports come with the bridge network; use --network host"),
    ("--expose", "ports come with the bridge network; use --network host"),
    ("--ip", "addresses come with the bridge network"),
    ("--ip6", "addresses come with the bridge network"),
    ("--link", "connections come with the bridge network; use --network container:NAME"),
    ("--link-local-ip", "addresses come with the bridge network"),
    ("--mac-address", "addresses come with the bridge network"),
    ("--network-alias", "names come with the bridge network"),
    ("--runtime", "containers run in rt-shim's own runtime"),
    ("--storage-opt", "there is one storage driver, overlay, without options"),
    ("--blkio-weight-device", "use --blkio-weight"),
    ("--cpu-rt-period", "use rtctl run --ulimit rtprio and the host's cgroup"),
    ("--cpu-rt-runtime", "use rtctl run --ulimit rtprio and the host's cgroup"),
    ("--kernel-memory", "the kernel dropped it; use --memory"),
    ("--cpu-count", "it is for Windows; use --cpus"),
    ("--cpu-percent", "it is for Windows; use --cpus"),
    ("--io-maxbandwidth", "it is for Windows; use --device-write-bps"),
    ("--io-maxiops", "it is for Windows; use --device-write-iops"),
    ("--isolation", "it is for Windows"),
    ("--use-api-socket", "there is no daemon and no socket"),
    ("--disable-content-trust", "images are not signed by notary; leave it out"),
    ("--checkpoint", "checkpoints come later"),
    ("--checkpoint-dir", "checkpoints come later"),
    ("--tree", "use rtctl images"),
];

/// Commands and what to do instead.
const COMMANDS: &[(&str, &str)] = &[
    ("search", "look on the registry's web page; rtctl pull NAME gets an image"),
    ("build", "build with another tool and use rtctl load"),
    ("buildx", "build with another tool and use rtctl load"),
    ("builder", "build with another tool and use rtctl load"),
    ("commit", "use rtctl cp to get files out"),
    ("import", "unpack the archive and use rtctl run --rootfs DIR, or rtctl load for an image"),
    ("diff", "use rtctl cp to look at files"),
    ("export", "use rtctl cp CONTAINER:/ -"),
    ("import", "use rtctl load"),
    ("volume", "volumes are the directories below volumes/ of rtctl info's root"),
    ("port", "ports come with the bridge network"),
    ("network", "networks other than none and host come with the bridge network"),
    ("events", "use rtctl wait or rtctl ps"),
    ("volume", "volumes are the directories below volumes/ of rtctl info's root"),
    ("system", "use rtctl info"),
    ("compose", "use a script of rtctl run commands"),
    ("swarm", "there is no cluster mode"),
    ("service", "there is no cluster mode"),
    ("stack", "there is no cluster mode"),
    ("node", "there is no cluster mode"),
    ("secret", "there is no cluster mode; use -v"),
    ("config", "there is no cluster mode; use -v"),
    ("plugin", "there are no plugins"),
    ("context", "there is no daemon to choose"),
    ("checkpoint", "checkpoints come later"),
    ("prune", "use rtctl image prune, rtctl volume prune or rtctl system prune"),
    ("manifest", "use rtctl image inspect"),
    ("trust", "images are not signed by notary"),
];

/// Why a flag of docker's is refused; `None` for what docker does not have either.
pub(crate) fn flag(name: &str) -> Option<String> {
    let name = name.split('=').next().unwrap_or(name);
    let (_, advice) = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(format!("{name} is not built yet: {advice}"))
}

/// The same for a command.
pub(crate) fn command(name: &str) -> Option<String> {
    let (_, advice) = COMMANDS.iter().find(|(known, _)| *known == name)?;
    Some(format!("{name} is not built yet: {advice}"))
}
