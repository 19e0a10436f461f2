//! Settings with a few allowed words.

use toml::de::DeValue;

use super::value::{Setting, quote, shown};

/// An enum whose variants are words of the file.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// The word of the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( $name::$variant => $word, )+ }
            }
        }

        impl Setting for $name {
            fn allowed() -> String {
                let words = [$($word),+].map(|word| format!("{word:?}"));
                let (last, rest) = words.split_last().expect("a choice has words");
                format!("{} or {last}", rest.join(", "))
            }

            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok($name::$variant), )+
                    _ => Err(shown(value)),
                }
            }

            fn write(&self) -> String {
                quote(self.word())
            }
        }
    };
}

choice! {
    /// Who makes cgroups. CRI: RuntimeConfig
    CgroupDriver {
        /// systemd where it is process 1, else cgroupfs.
        Auto = "auto",
        /// Files below /sys/fs/cgroup.
        Cgroupfs = "cgroupfs",
        /// Slices and scopes.
        Systemd = "systemd",
    }
}

choice! {
    /// What becomes of the volumes that an image declares.
    ImageVolumes {
        /// Each container has its own directories.
        Private = "private",
        /// Nothing.
        Ignore = "ignore",
    }
}

choice! {
    /// Who connects pods.
    NetworkKind {
        /// CNI where it is configured, else the bridge.
        Auto = "auto",
        /// CNI plugins.
        Cni = "cni",
        /// The built-in bridge.
        Bridge = "bridge",
    }
}

choice! {
    /// The least urgent messages that are logged.
    LogLevel {
        /// What went wrong.
        Error = "error",
        /// What may be wrong.
        Warn = "warn",
        /// What has been done.
        Info = "info",
        /// What has been asked, too.
        Debug = "debug",
        /// All.
        Trace = "trace",
    }
}

choice! {
    /// The form of the log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
}
