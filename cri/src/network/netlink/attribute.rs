//! Attributes of answers: type, length, value. Unknown ones are passed by, so newer kernels do no harm.

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// Type, without the flags for nesting and byte order.
    pub(crate) kind: u16,
    /// Its bytes.
    pub(crate) value: &'a [u8],
}

/// Type bits that are not flags: NLA_TYPE_MASK.
const TYPE_MASK: u16 = 0x3fff;

impl<'a> Attribute<'a> {
    /// A number in the host's byte order.
    pub(crate) fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A number in network byte order, as nftables has them.
    pub(crate) fn be32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A text that ends in NUL.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).ok()
    }

    /// The attributes inside.
    pub(crate) fn nested(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        attributes(self.value)
    }
}

/// The attributes in `bytes`, up to the first that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bytes() {
        let bytes = [7, 0, 3, 0, b'l', b'o', 0, 0, 8, 0, 4, 0x80, 1, 0, 0, 0];
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].text()), (3, Some("lo")));
        assert_eq!((found[1].kind, found[1].u32()), (4, Some(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let total: usize = attributes(&bytes).map(|attribute| attribute.value.len() + 4).sum();
            prop_assert!(total <= bytes.len() + 3);
        }
    }
}
