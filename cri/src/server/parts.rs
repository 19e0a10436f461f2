//! Lists as streams: so many at a time that no message is too large. CRI: Stream* calls

use tonic::Status;

/// Most elements of a part; each may have some kilobytes of labels, annotations and names.
const PART: usize = 500;

/// The parts of a list.
pub(super) type Parts<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

/// Cuts a list; an empty one has no parts.
pub(super) fn of<T: Clone, R>(list: &[T], message: impl Fn(Vec<T>) -> R) -> Parts<R> {
    let parts: Vec<_> = list.chunks(PART).map(|part| Ok(message(part.to_vec()))).collect();
    tokio_stream::iter(parts)
}
