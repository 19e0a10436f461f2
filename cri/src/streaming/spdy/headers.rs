//! Header blocks: names and values, compressed. Section 2.6.10.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use super::{Error, HEADERS_LIMIT};

/// Names with their values, in the order in which they came. Names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, number: usize| {
            bytes.extend_from_slice(&u32::try_from(number).expect("less than 4 GiB of headers").to_be_bytes());
        };
        number(&mut bytes, self.0.len());
        for (name, value) in &self.0 {
            for text in [name, value] {
                number(&mut bytes, text.len());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        bytes
    }

    fn read(mut bytes: &[u8]) -> Result<Headers, Error> {
        let count = take_number(&mut bytes)?;
        let mut headers = Headers::default();
        for _ in 0..count {
            let name = take_text(&mut bytes)?;
            let value = take_text(&mut bytes)?;
            if name.is_empty() {
                return Err(Error::Headers("a name is empty"));
            }
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err(Error::Headers("a name has upper-case letters"));
            }
            if headers.get(&name).is_some() {
                return Err(Error::Headers("a name comes twice"));
            }
            headers.0.push((name, value));
        }
        if bytes.is_empty() { Ok(headers) } else { Err(Error::Headers("more bytes than it says")) }
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    /// Later values of a name replace earlier ones.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Headers {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in items {
            let name = name.as_ref().to_ascii_lowercase();
            headers.retain(|(own, _)| *own != name);
            headers.push((name, value.into()));
        }
        Headers(headers)
    }
}

fn take_number(bytes: &mut &[u8]) -> Result<usize, Error> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Error::Headers("it ends within a number"))?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| Error::Headers("a length is too large"))
}

fn take_text(bytes: &mut &[u8]) -> Result<String, Error> {
    let length = take_number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Error::Headers("it ends within a text"))?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Headers("a text is not UTF-8"))
}

/// The compressing end of a direction.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Deflater {
        // The usual level: blocks are short, and what counts is the window of what was said before.
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(&dictionary()).expect("a new stream takes a dictionary");
        Deflater(zlib)
    }

    /// A header block: to be sent, the others depend on it.
    pub(super) fn block(&mut self, headers: &Headers) -> Vec<u8> {
        let plain = headers.write();
        let mut block = Vec::with_capacity(plain.len() / 2 + 64);
        let start = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - start).expect("no more than was given");
            let room = block.capacity();
            let status = self.0.compress_vec(&plain[done..], &mut block, FlushCompress::Sync);
            status.expect("compressing into memory");
            let all = self.0.total_in() - start == plain.len() as u64;
            // Output that fills its room may not be all of it.
            if all && block.len() < room {
                return block;
            }
            block.reserve(64 + plain.len() / 2);
        }
    }
}

/// The decompressing end of a direction.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Inflater {
        Inflater(Decompress::new(true))
    }

    /// Reads a header block.
    ///
    /// # Errors
    /// It is no zlib, larger than [`HEADERS_LIMIT`], or not well-formed.
    pub(super) fn headers(&mut self, mut block: &[u8]) -> Result<Headers, Error> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            let before = self.0.total_in();
            let room = plain.capacity();
            let result = self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).expect("no more than was given");
            block = &block[taken..];
            match result {
                Ok(Status::StreamEnd) => return Err(Error::Compression("the stream ends".into())),
                Ok(Status::Ok | Status::BufError) => {
                    if plain.len() > HEADERS_LIMIT {
                        return Err(Error::HeadersTooLong(HEADERS_LIMIT));
                    }
                    if plain.len() == room {
                        plain.reserve(4096);
                    } else if block.is_empty() {
                        return Headers::read(&plain);
                    } else if taken == 0 {
                        return Err(Error::Compression("it makes no progress".into()));
                    }
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|error| Error::Compression(error.to_string()))?;
                }
                Err(error) => return Err(Error::Compression(error.to_string())),
            }
        }
    }
}
