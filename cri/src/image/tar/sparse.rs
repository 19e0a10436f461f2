//! Maps of files with holes, in the four ways GNU tar writes them.
//!
//! Source: GNU tar manual, "Storing Sparse Files".

use ::tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

use super::number::unsigned;
use super::pax::{SPARSE_NUMBERS_MAX, Sparse};
use super::{BLOCK, TarError};

/// A piece of a file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How many bytes it has.
    pub(crate) length: u64,
}

/// The map that PAX members describe: size of the file and pieces; `None` if they describe none.
///
/// `number` reads a line from the entry's data, where format 1.0 keeps its map; the map is padded to a whole block.
pub(super) fn map(
    sparse: &Sparse,
    mut number: impl FnMut() -> Result<u64, TarError>,
) -> Result<Option<(u64, Vec<Piece>)>, TarError> {
    let numbers = match (sparse.major, sparse.minor) {
        (None | Some(0), _) if sparse.numbers.is_empty() && sparse.real_size.is_none() => return Ok(None),
        (None | Some(0), _) => sparse.numbers.clone(),
        (Some(1), Some(0)) => {
            let count = number()?;
            if count > SPARSE_NUMBERS_MAX as u64 / 2 {
                return Err(TarError::SparseMap);
            }
            (0..count * 2).map(|_| number()).collect::<Result<_, _>>()?
        }
        _ => return Err(TarError::SparseMap),
    };
    let size = sparse.real_size.ok_or(TarError::SparseMap)?;
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(TarError::SparseMap);
    }
    Ok(Some((size, pairs.map(|pair| Piece { offset: pair[0], length: pair[1] }).collect())))
}

/// The map of the old GNU format: four pieces in the header, 21 in each of the blocks that `block` reads.
pub(super) fn old_gnu(
    header: &GnuHeader,
    mut block: impl FnMut() -> Result<[u8; BLOCK], TarError>,
) -> Result<Vec<Piece>, TarError> {
    let mut pieces = Vec::new();
    add(&header.sparse, &mut pieces)?;
    let mut more = header.isextended[0] != 0;
    while more {
        let mut extension = GnuExtSparseHeader::new();
        extension.as_mut_bytes().copy_from_slice(&block()?);
        add(&extension.sparse, &mut pieces)?;
        more = extension.isextended[0] != 0;
    }
    Ok(pieces)
}

fn add(fields: &[GnuSparseHeader], pieces: &mut Vec<Piece>) -> Result<(), TarError> {
    for field in fields.iter().filter(|field| field.offset[0] != 0 && field.numbytes[0] != 0) {
        let piece = Piece { offset: unsigned(&field.offset, "offset")?, length: unsigned(&field.numbytes, "length")? };
        pieces.push(piece);
    }
    if pieces.len() > SPARSE_NUMBERS_MAX / 2 { Err(TarError::SparseMap) } else { Ok(()) }
}
