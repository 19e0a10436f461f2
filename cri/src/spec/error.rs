//! Why no configuration could be made.

/// Contradictory or impossible options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two options exclude each other.
    #[error("{left} and {right} exclude each other: {why}")]
    Conflict {
        /// One option.
        left: &'static str,
        /// The other.
        right: &'static str,
        /// Why.
        why: &'static str,
    },
    /// An option's value breaks a rule.
    #[error("{option} {value:?}: must be {rule}")]
    Invalid {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// The rule.
        rule: &'static str,
    },
    /// Two mounts have one destination.
    #[error("duplicate mount point: {destination}")]
    DuplicateMount {
        /// Where.
        destination: String,
    },
    /// Neither the image nor the user says what to run.
    #[error("no command: the image has neither entrypoint nor command, name one after the image")]
    NoCommand,
    /// No such capability.
    #[error("unknown capability {name:?}: capabilities(7) lists them; write them as CHOWN or CAP_CHOWN, or ALL")]
    UnknownCapability {
        /// As given.
        name: String,
    },
    /// The host cannot give it.
    #[error("--cap-add {name}: not in the bounding set of this process, so no container can have it")]
    CapabilityUnavailable {
        /// As in capabilities(7).
        name: String,
    },
    /// A kernel parameter that is not the container's own.
    #[error("--sysctl {name}: {why}")]
    Sysctl {
        /// Its dotted name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A seccomp profile that cannot be read.
    #[error("seccomp profile: {at}: {problem}")]
    SeccompProfile {
        /// JSON path.
        at: String,
        /// What is wrong.
        problem: String,
    },
    /// AppArmor profile on a host without AppArmor.
    #[error("--security-opt apparmor={profile}: AppArmor is not enabled on this host")]
    NoAppArmor {
        /// As given.
        profile: String,
    },
}
