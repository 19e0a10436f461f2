//! Reading the log of a container: CRI's format, written by the shim.
//!
//! `<time> <stdout|stderr> <F|P> <text>\n`: `F` ends a line, after `P` the line goes on in the next record of the stream.

pub(crate) mod record;
pub(crate) mod tail;
