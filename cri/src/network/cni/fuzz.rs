//! Ways in for the fuzz targets, to what is nobody else's business.

use super::result::{Attachment, from_value, parse};
use super::version::Version;

/// Reads a result, for a network of each version. What is understood can be told to plugins of any version.
///
/// # Panics
/// When it cannot.
pub fn result(bytes: &[u8]) -> Option<Attachment> {
    let mut last = None;
    for version in Version::ALL {
        let Ok(answer) = parse(bytes, version) else { continue };
        let again = from_value(answer.attachment.to_value(version), version).expect("what is told is a result");
        assert_eq!(again.attachment, answer.attachment);
        last = Some(answer.attachment);
    }
    last
}
