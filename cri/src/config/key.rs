//! The table's row, and the macro that makes a struct of a table.

/// Whether a change counts at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// For whatever begins from then on.
    Live,
    /// When rtd is started anew.
    Restart,
}

/// A key: all there is to say of it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub section: &'static str,
    /// What it does, line by line.
    pub doc: &'static [&'static str],
    /// Its default, as TOML.
    pub default: &'static str,
    /// Which values are allowed, for people.
    pub allowed: fn() -> String,
    /// Whether a change counts at once.
    pub reload: Reload,
}

/// Why a key cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is none of this name.
    Unknown,
    /// Its value is none that is allowed; why.
    Value(String),
}

/// Makes a struct with a public field for each key, and the functions that all keys share.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident { $( $(#[$extra_meta:meta])* pub $extra:ident: $extra_type:ty, )* }
        $( [$section:literal] $( $(#[doc = $doc:literal])+ $reload:ident $name:ident: $type:ty = $default:literal; )+ )+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $struct {
            $($( $(#[doc = $doc])+ pub $name: $type, )+)+
            $( $(#[$extra_meta])* pub $extra: $extra_type, )*
        }

        impl $struct {
            /// All keys, in the order of the table.
            pub const KEYS: &'static [$crate::config::key::Key] = &[ $($( $crate::config::key::Key {
                name: stringify!($name),
                section: $section,
                doc: &[$($doc),+],
                default: $default,
                allowed: <$type as $crate::config::value::Setting>::allowed,
                reload: $crate::config::key::Reload::$reload,
            }, )+)+ ];

            /// The values of the table.
            #[must_use]
            pub fn defaults() -> $struct {
                $struct {
                    $($( $name: $crate::config::value::from_toml($default).expect("a test reads all defaults"), )+)+
                    $( $extra: Default::default(), )*
                }
            }

            /// Gives a key another value.
            pub(super) fn set(
                &mut self,
                key: &str,
                value: &toml::de::DeValue<'_>,
            ) -> Result<(), $crate::config::key::Refused> {
                match key {
                    $($( stringify!($name) => {
                        self.$name = $crate::config::value::Setting::read(value).map_err($crate::config::key::Refused::Value)?;
                    } )+)+
                    _ => return Err($crate::config::key::Refused::Unknown),
                }
                Ok(())
            }

            /// Takes over what may change now; notes that and what may not.
            pub fn adopt(&mut self, new: &$struct, reloaded: &mut $crate::config::reload::Reloaded) {
                $($( if self.$name != new.$name {
                    match $crate::config::key::Reload::$reload {
                        $crate::config::key::Reload::Live => {
                            self.$name = new.$name.clone();
                            reloaded.applied.push(stringify!($name));
                        }
                        $crate::config::key::Reload::Restart => reloaded.waiting.push(stringify!($name)),
                    }
                } )+)+
                $( if self.$extra != new.$extra {
                    self.$extra = new.$extra.clone();
                    reloaded.applied.push(stringify!($extra));
                } )*
            }

            /// The value of a key as TOML.
            #[must_use]
            pub fn get(&self, key: &str) -> Option<String> {
                match key {
                    $($( stringify!($name) => Some($crate::config::value::Setting::write(&self.$name)), )+)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use keys;
