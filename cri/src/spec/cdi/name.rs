//! `vendor.com/class=name`

use std::fmt;
use std::str::FromStr;

use super::Error;

/// Name of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName {
    /// `vendor.com/class`
    kind: String,
    /// Name within the kind.
    name: String,
}

impl DeviceName {
    /// Puts a name together.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(kind: &str, name: &str) -> Result<DeviceName, Error> {
        format!("{kind}={name}").parse()
    }

    /// `vendor.com/class`
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Name within the kind.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.kind, self.name)
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<DeviceName, Error> {
        let wrong = |problem| Error::Name { text: text.to_owned(), problem };
        let (kind, name) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        check_kind(kind).map_err(wrong)?;
        check_device(name).map_err(wrong)?;
        Ok(DeviceName { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// Checks `vendor.com/class`.
pub(super) fn check_kind(kind: &str) -> Result<(), &'static str> {
    let (vendor, class) = kind.split_once('/').ok_or("there is no vendor and class")?;
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphabetic)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
    };
    if !part(vendor) {
        return Err("the vendor must be letters, digits, _ - and ., from a letter to a letter or digit");
    }
    if !part(class) {
        return Err("the class must be letters, digits, _ - and ., from a letter to a letter or digit");
    }
    Ok(())
}

/// Checks the name of a device.
pub(super) fn check_device(name: &str) -> Result<(), &'static str> {
    let bytes = name.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte);
    if ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inside) {
        Ok(())
    } else {
        Err("the device must be letters, digits, _ - . and :, from a letter or digit to a letter or digit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for good in ["nvidia.com/gpu=all", "a/b=0", "v-e_n.d/c.l-a_s=GPU-0:1.2", "vendor/class=x"] {
            assert_eq!(good.parse::<DeviceName>().unwrap().to_string(), good);
        }
        for bad in [
            "", "a", "a/b", "a/b=", "/b=c", "a/=c", "1a/b=c", "a/1b=c", "a/b=-c", "a/b=c-", "a./b=c", "a/b/c=d",
            "a/b=c=d", "a/b=ü",
        ] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in "[a-z1./=:-]{0,12}") {
            if let Ok(name) = text.parse::<DeviceName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
