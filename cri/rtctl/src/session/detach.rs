//! Keys that leave a container running: `ctrl-p,ctrl-q`.

/// A sequence of keys, and how much of it has been typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What a piece of input comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Pass this on.
    Input(Vec<u8>),
    /// Pass this on and leave.
    Detach(Vec<u8>),
}

impl Default for DetachKeys {
    fn default() -> Self {
        DetachKeys { keys: vec![16, 17], typed: 0 }
    }
}

impl DetachKeys {
    /// `ctrl-p,ctrl-q`: keys separated by commas, each a character or `ctrl-` with a letter or one of `@[\]^_`. Empty: none.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, String> {
        let mut keys = Vec::new();
        for key in text.split(',').filter(|_| !text.is_empty()) {
            let mut chars = key.strip_prefix("ctrl-").unwrap_or(key).bytes();
            let (Some(byte), None) = (chars.next(), chars.next()) else {
                return Err(format!("unknown key {key:?}; write keys as in ctrl-p,ctrl-q"));
            };
            keys.push(match (key.starts_with("ctrl-"), byte.to_ascii_uppercase()) {
                (true, upper @ (b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')) => upper & 0x1f,
                (true, _) => return Err(format!("unknown key {key:?}")),
                (false, _) => byte,
            });
        }
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// Takes what was typed. Keys that begin the sequence are held back until it is clear that they do not go on.
    pub(crate) fn take(&mut self, input: &[u8]) -> Typed {
        let mut output = Vec::with_capacity(input.len());
        for byte in input {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return Typed::Detach(output);
                }
                continue;
            }
            output.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(self.keys.len() > 1 && self.keys.first() == Some(byte));
            if self.typed == 0 {
                output.push(*byte);
            }
        }
        Typed::Input(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys() {
        let keys = |text: &str| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(keys("a"), Ok(vec![b'a']));
        assert_eq!(keys("ctrl-@,ctrl-_,x"), Ok(vec![0, 31, b'x']));
        assert_eq!(keys(""), Ok(vec![]));
        for text in ["ctrl-", "ctrl-1", "ab", "ctrl-pq", ","] {
            assert!(keys(text).is_err(), "{text}");
        }
    }

    #[test]
    fn typing() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.take(b"ab"), Typed::Input(b"ab".to_vec()));
        assert_eq!(keys.take(b"x\x10"), Typed::Input(b"x".to_vec()));
        assert_eq!(keys.take(b"y"), Typed::Input(b"\x10y".to_vec()));
        assert_eq!(keys.take(b"\x10\x10"), Typed::Input(b"\x10".to_vec()));
        assert_eq!(keys.take(b"\x11z"), Typed::Detach(vec![]));
        let mut none = DetachKeys::parse("").unwrap();
        assert_eq!(none.take(b"\x10\x11"), Typed::Input(b"\x10\x11".to_vec()));
        let mut one = DetachKeys::parse("q").unwrap();
        assert_eq!(one.take(b"aq"), Typed::Detach(b"a".to_vec()));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(input in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![1_u8, 16, b'a']), 0..5), 0..10)) {
            let mut keys = DetachKeys::default();
            let mut output = Vec::new();
            for part in &input {
                match keys.take(part) {
                    Typed::Input(bytes) => output.extend(bytes),
                    Typed::Detach(_) => prop_assert!(false),
                }
            }
            output.extend_from_slice(&keys.keys[..keys.typed]);
            prop_assert_eq!(output, input.concat());
        }
    }
}
