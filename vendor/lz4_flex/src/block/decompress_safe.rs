//! The block decompression algorithm.

use crate::block::DecompressError;
use crate::block::MINMATCH;
use crate::sink::copy_ahead;
use crate::sink::repeat;
use crate::sink::Sink;
use crate::sink::SliceSink;

#[cfg(feature = "alloc")]
#[allow(unused_imports)]
use alloc::vec;
#[cfg(feature = "alloc")]
#[allow(unused_imports)]
use alloc::vec::Vec;

/// Read an integer.
///
/// In LZ4, we encode small integers in a way that we can have an arbitrary number of bytes. In
/// particular, we add the bytes repeatedly until we hit a non-0xFF byte. When we do, we add
/// this byte to our sum and terminate the loop.
///
/// # Example
///
/// ```notest
///     255, 255, 255, 4, 2, 3, 4, 6, 7
/// ```
///
/// is encoded to _255 + 255 + 255 + 4 = 769_. The bytes after the first 4 is ignored, because
/// 4 is the first non-0xFF byte.
#[inline]
pub(super) fn read_integer(input: &mut &[u8]) -> Result<usize, DecompressError> {
    // We start at zero and count upwards.
    let mut n: usize = 0;
    // If this byte takes value 255 (the maximum value it can take), another byte is read
    // and added to the sum. This repeats until a byte lower than 255 is read.
    loop {
        // We add the next byte until we get a byte which we add to the counting variable.
        let (&extra, rest) = input
            .split_first()
            .ok_or(DecompressError::ExpectedAnotherByte)?;
        *input = rest;
        // A length that does not fit is longer than any output.
        n = n.saturating_add(extra as usize);

        // We continue if we got 255, break otherwise.
        if extra != 0xFF {
            break;
        }
    }

    // 255, 255, 255, 8
    // 111, 111, 111, 101

    Ok(n)
}

/// Read the match offset as a little-endian 16-bit integer from the input stream.
#[inline]
fn read_match_offset(input: &mut &[u8]) -> Result<u16, DecompressError> {
    let (offset, rest) = input
        .split_first_chunk::<2>()
        .ok_or(DecompressError::ExpectedAnotherByte)?;
    *input = rest;
    Ok(u16::from_le_bytes(*offset))
}

/// Decodes sequences for as long as both lengths are in the token, the offset is at least 8, and
/// the ends of input and output are far enough away: almost all sequences of most blocks.
///
/// Returns the input that is left. If the literals of its last sequence are copied but its match is
/// not, it also returns the token and the offset of that sequence.
///
/// The two checks of a copy are that of its room, and that of its start: those of the eight bytes
/// at a time follow from the length of the slice, so that the compiler removes them. This needs
/// the position in a variable of its own.
#[inline(always)]
fn hot_loop<'a>(
    mut input: &'a [u8],
    output: &mut [u8],
    output_pos: &mut usize,
) -> (&'a [u8], Option<(u8, u16)>) {
    let mut pos = *output_pos;
    let unfinished = loop {
        // A token, up to 14 literals, of which 16 bytes are copied, and an offset.
        let Some(sequence) = input.first_chunk::<18>() else {
            break None;
        };
        let token = sequence[0];
        let literal_length = usize::from(token >> 4);
        let room = output.get_mut(pos..);
        let Some(room) = room.and_then(|room| room.first_chunk_mut::<16>()) else {
            break None;
        };
        if literal_length == 15 {
            break None;
        }
        let (Some(literals), Some(offset)) = (
            sequence[1..].first_chunk::<16>(),
            sequence[1 + literal_length..].first_chunk::<2>(),
        ) else {
            break None;
        };
        *room = *literals;
        let offset = u16::from_le_bytes(*offset);
        // Neither of the sums exceeds the length of its slice.
        input = input.get(3 + literal_length..).unwrap_or_default();
        pos = pos.wrapping_add(literal_length);
        let unfinished = Some((token, offset));
        let offset = usize::from(offset);
        let match_length = usize::from(token & 0xF);
        // Bytes that are less than 8 apart must not be copied eight at a time.
        if match_length == 15 || offset < 8 {
            break unfinished;
        }
        // From the first byte to read to the last one to write.
        let Some(window) = output.get_mut(..pos.wrapping_add(18)) else {
            break unfinished;
        };
        // This fails if the offset is out of bounds, or in the dictionary.
        let Some(start) = window.len().checked_sub(offset + 18) else {
            break unfinished;
        };
        let Some(window) = window.get_mut(start..) else {
            break unfinished;
        };
        copy_ahead::<8>(window, 0, offset);
        copy_ahead::<8>(window, 8, offset);
        copy_ahead::<2>(window, 16, offset);
        pos = pos.wrapping_add(MINMATCH + match_length);
    };
    *output_pos = pos;
    (input, unfinished)
}

/// Decompress all bytes of `input` into `output`.
///
/// Returns the number of bytes written (decompressed) into `output`.
#[inline]
pub(crate) fn decompress_internal<const USE_DICT: bool, S: Sink>(
    input: &[u8],
    output: &mut S,
    ext_dict: &[u8],
) -> Result<usize, DecompressError> {
    let mut input = input;
    let initial_output_pos = output.pos();

    // Exhaust the decoder by reading and decompressing all blocks until the remaining buffer is
    // empty.
    loop {
        let (unfilled, output_pos) = output.parts_mut();
        let (rest, unfinished) = hot_loop(input, unfilled, output_pos);
        input = rest;

        let (token, offset) = if let Some(unfinished) = unfinished {
            unfinished
        } else {
            // Read the token. The token is the first byte in a block. It is divided into two 4-bit
            // subtokens, the higher and the lower.
            // This token contains to 4-bit "fields", a higher and a lower, representing the
            // literals' length and the back reference's length, respectively.
            let (&token, rest) = input
                .split_first()
                .ok_or(DecompressError::ExpectedAnotherByte)?;
            input = rest;

            // Now, we read the literals section.
            // Literal Section
            // If the initial value is 15, it is indicated that another byte will be read and added
            // to it
            let mut literal_length = (token >> 4) as usize;
            if literal_length == 15 {
                // The literal_length length took the maximal value, indicating that there is more
                // than 15 literal_length bytes. We read the extra integer.
                literal_length = read_integer(&mut input)?.saturating_add(15);
            }
            let (literals, rest) = input
                .split_at_checked(literal_length)
                .ok_or(DecompressError::LiteralOutOfBounds)?;
            let (unfilled, output_pos) = output.parts_mut();
            let copied = copy_short_literals(unfilled, *output_pos, input, literal_length)
                || copy_literals(unfilled, *output_pos, literals);
            // could be skipped with unchecked-decode
            if !copied {
                return Err(DecompressError::OutputTooSmall {
                    expected: output.pos().saturating_add(literal_length),
                    actual: output.capacity(),
                });
            }
            *output_pos = output_pos.wrapping_add(literal_length);
            input = rest;

            // If the input stream is emptied, we break out of the loop. This is only the case
            // in the end of the stream, since the block is intact otherwise.
            if input.is_empty() {
                break;
            }
            (token, read_match_offset(&mut input)?)
        };
        if offset == 0 {
            return Err(DecompressError::OffsetZero);
        }

        // Obtain the initial match length. The match length is the length of the duplicate segment
        // which will later be copied from data previously decompressed into the output buffer. The
        // initial length is derived from the second part of the token (the lower nibble), we read
        // earlier. Since having a match length of less than 4 would mean negative compression
        // ratio, we start at 4 (MINMATCH).

        // The initial match length can maximally be 19. As with the literal length, this indicates
        // that there are more bytes to read.
        let mut match_length = MINMATCH + (token & 0xF) as usize;
        if match_length == MINMATCH + 15 {
            // The match length took the maximal value, indicating that there is more bytes. We
            // read the extra integer.
            match_length = read_integer(&mut input)?.saturating_add(MINMATCH + 15);
        }

        // could be skipped with unchecked-decode
        if match_length > output.capacity().wrapping_sub(output.pos()) {
            return Err(DecompressError::OutputTooSmall {
                expected: output.pos().saturating_add(match_length),
                actual: output.capacity(),
            });
        }
        if USE_DICT && usize::from(offset) > output.pos() {
            let copied = copy_from_dict(output, ext_dict, offset.into(), match_length)?;
            if copied == match_length {
                continue;
            }
            // match crosses ext_dict and output, offset is still correct as output_len was
            // increased
            match_length -= copied;
        }
        // We now copy from the already decompressed buffer. This allows us for storing duplicates
        // by simply referencing the other location.
        let (unfilled, output_pos) = output.parts_mut();
        if !duplicate_slice(unfilled, *output_pos, offset, match_length) {
            return Err(DecompressError::OffsetOutOfBounds);
        }
        *output_pos = output_pos.wrapping_add(match_length);
    }
    Ok(output.pos().wrapping_sub(initial_output_pos))
}

#[inline]
fn copy_from_dict(
    output: &mut impl Sink,
    ext_dict: &[u8],
    offset: usize,
    match_length: usize,
) -> Result<usize, DecompressError> {
    // If we're here we know offset > output.pos
    debug_assert!(offset > output.pos());
    let (dict_offset, did_overflow) = ext_dict.len().overflowing_sub(offset - output.pos());
    if did_overflow {
        return Err(DecompressError::OffsetOutOfBounds);
    }
    // Can't copy past ext_dict len, the match may cross dict and output
    let dict_match_length = match_length.min(ext_dict.len() - dict_offset);
    let ext_match = &ext_dict[dict_offset..dict_offset + dict_match_length];
    output.extend_from_slice(ext_match);
    Ok(dict_match_length)
}

/// Copies 32 bytes. One copy of 32 bytes would become one call of memcpy, together with that of
/// `copy_literals`.
#[inline(always)]
fn copy_32(to: &mut [u8; 32], from: &[u8; 32]) {
    for (to, from) in to.chunks_exact_mut(8).zip(from.chunks_exact(8)) {
        if let (Some(to), Some(from)) = (to.first_chunk_mut::<8>(), from.first_chunk::<8>()) {
            *to = u64::from_ne_bytes(*from).to_ne_bytes();
        }
    }
}

/// Copies up to 256 literals, the first bytes of `input`, to `output` at `pos`, 32 at a time.
/// Returns false if there are more, or not so much room in both.
#[inline(always)]
fn copy_short_literals(output: &mut [u8], pos: usize, input: &[u8], len: usize) -> bool {
    if len <= 32 {
        let Some(from) = input.first_chunk::<32>() else {
            return false;
        };
        let to = output.get_mut(..pos.wrapping_add(32));
        let Some(to) = to.and_then(|to| to.last_chunk_mut::<32>()) else {
            return false;
        };
        copy_32(to, from);
        return true;
    }
    if len > 256 {
        return false;
    }
    let rounded = (len + 31) & !31;
    let Some(from) = input.get(..rounded) else {
        return false;
    };
    let to = output.split_at_mut_checked(pos);
    let Some(to) = to.and_then(|(_, to)| to.get_mut(..rounded)) else {
        return false;
    };
    for (to, from) in to.chunks_exact_mut(32).zip(from.chunks_exact(32)) {
        if let (Some(to), Some(from)) = (to.first_chunk_mut::<32>(), from.first_chunk::<32>()) {
            copy_32(to, from);
        }
    }
    true
}

/// Copies literals to `output` at `pos`. Returns false if there is no room.
#[inline(always)]
fn copy_literals(output: &mut [u8], pos: usize, literals: &[u8]) -> bool {
    let to = output.split_at_mut_checked(pos);
    let Some(to) = to.and_then(|(_, to)| to.get_mut(..literals.len())) else {
        return false;
    };
    to.copy_from_slice(literals);
    true
}

/// Copies a match to `output` at `pos`. Returns false if it does not fit, or starts before the
/// output.
#[inline(always)]
fn duplicate_slice(output: &mut [u8], pos: usize, offset: u16, match_length: usize) -> bool {
    let short = offset >= 8
        && match match_length {
            0..=32 => copy_short_match::<32>(output, pos, offset),
            33..=64 => copy_short_match::<64>(output, pos, offset),
            _ => false,
        };
    let offset = usize::from(offset);
    short
        || if match_length > offset {
            duplicate_overlapping_slice(output, pos, offset, match_length)
        } else {
            duplicate_distinct_slice(output, pos, offset, match_length)
        }
}

/// Copies `N` bytes for a match of up to `N`, eight at a time, so `offset` is at least 8. Returns
/// false if there is no room for them, or the match starts before the output.
#[inline(always)]
fn copy_short_match<const N: usize>(output: &mut [u8], pos: usize, offset: u16) -> bool {
    let offset = usize::from(offset);
    let Some(window) = output.get_mut(..pos.wrapping_add(N)) else {
        return false;
    };
    let Some(start) = window.len().checked_sub(offset + N) else {
        return false;
    };
    let Some(window) = window.get_mut(start..) else {
        return false;
    };
    for at in (0..N).step_by(8) {
        copy_ahead::<8>(window, at, offset);
    }
    true
}

/// Copies a match that does not reach over its own start.
#[inline(always)]
fn duplicate_distinct_slice(output: &mut [u8], pos: usize, offset: usize, len: usize) -> bool {
    let Some((filled, unfilled)) = output.split_at_mut_checked(pos) else {
        return false;
    };
    let Some(start) = filled.len().checked_sub(offset) else {
        return false;
    };
    let from = filled.get(start..).and_then(|from| from.get(..len));
    let (Some(from), Some(to)) = (from, unfilled.get_mut(..len)) else {
        return false;
    };
    to.copy_from_slice(from);
    true
}

/// self-referential copy for the case data start (end of output - offset) + match_length overlaps
/// into output
#[inline(always)]
fn duplicate_overlapping_slice(output: &mut [u8], pos: usize, offset: usize, len: usize) -> bool {
    let Some(start) = pos.checked_sub(offset) else {
        return false;
    };
    let Some(window) = output.get_mut(start..) else {
        return false;
    };
    if offset == 1 && len > 64 {
        let Some((&mut first, rest)) = window.split_first_mut() else {
            return false;
        };
        let Some(to) = rest.get_mut(..len) else {
            return false;
        };
        to.fill(first);
        return true;
    }
    repeat(window, offset, len)
}

/// Decompress all bytes of `input` into `output`.
/// `output` should be preallocated with a size of of the uncompressed data.
#[inline]
pub fn decompress_into(input: &[u8], output: &mut [u8]) -> Result<usize, DecompressError> {
    decompress_internal::<false, _>(input, &mut SliceSink::new(output, 0), b"")
}

/// Decompress all bytes of `input` into `output`.
///
/// Returns the number of bytes written (decompressed) into `output`.
#[inline]
pub fn decompress_into_with_dict(
    input: &[u8],
    output: &mut [u8],
    ext_dict: &[u8],
) -> Result<usize, DecompressError> {
    decompress_internal::<true, _>(input, &mut SliceSink::new(output, 0), ext_dict)
}

/// Decompress all bytes of `input` into a new vec. The first 4 bytes are the uncompressed size in
/// little endian. Can be used in conjunction with `compress_prepend_size`
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
#[inline]
pub fn decompress_size_prepended(input: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let (uncompressed_size, input) = super::uncompressed_size(input)?;
    decompress(input, uncompressed_size)
}

/// Decompress all bytes of `input` into a new vec.
/// The passed parameter `min_uncompressed_size` needs to be equal or larger than the uncompressed size.
///
/// # Panics
/// May panic if the parameter `min_uncompressed_size` is smaller than the
/// uncompressed data.
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
#[inline]
pub fn decompress(input: &[u8], min_uncompressed_size: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decompressed: Vec<u8> = vec![0; min_uncompressed_size];
    let decomp_len =
        decompress_internal::<false, _>(input, &mut SliceSink::new(&mut decompressed, 0), b"")?;
    decompressed.truncate(decomp_len);
    Ok(decompressed)
}

/// Decompress all bytes of `input` into a new vec. The first 4 bytes are the uncompressed size in
/// little endian. Can be used in conjunction with `compress_prepend_size_with_dict`
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
#[inline]
pub fn decompress_size_prepended_with_dict(
    input: &[u8],
    ext_dict: &[u8],
) -> Result<Vec<u8>, DecompressError> {
    let (uncompressed_size, input) = super::uncompressed_size(input)?;
    decompress_with_dict(input, uncompressed_size, ext_dict)
}

/// Decompress all bytes of `input` into a new vec.
/// The passed parameter `min_uncompressed_size` needs to be equal or larger than the uncompressed size.
///
/// # Panics
/// May panic if the parameter `min_uncompressed_size` is smaller than the
/// uncompressed data.
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
#[inline]
pub fn decompress_with_dict(
    input: &[u8],
    min_uncompressed_size: usize,
    ext_dict: &[u8],
) -> Result<Vec<u8>, DecompressError> {
    let mut decompressed: Vec<u8> = vec![0; min_uncompressed_size];
    let decomp_len =
        decompress_internal::<true, _>(input, &mut SliceSink::new(&mut decompressed, 0), ext_dict)?;
    decompressed.truncate(decomp_len);
    Ok(decompressed)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn all_literal() {
        assert_eq!(decompress(&[0x30, b'a', b'4', b'9'], 3).unwrap(), b"a49");
    }

    #[test]
    fn incomplete_input() {
        assert!(matches!(
            decompress(&[], 255),
            Err(DecompressError::ExpectedAnotherByte)
        ));
        assert!(matches!(
            // incomplete literal len
            decompress(&[0xF0], 255),
            Err(DecompressError::ExpectedAnotherByte)
        ));
        assert!(matches!(
            // incomplete match offset
            decompress(&[0x0F, 0], 255),
            Err(DecompressError::ExpectedAnotherByte)
        ));
        assert!(matches!(
            // incomplete match len
            decompress(&[0x0F, 1, 0], 255),
            Err(DecompressError::ExpectedAnotherByte)
        ));
    }

    // this error test is only valid in safe-decode.
    #[test]
    fn offset_oob() {
        // incomplete literal
        assert!(matches!(
            decompress(&[0x40, b'a', 1, 0], 4),
            Err(DecompressError::LiteralOutOfBounds)
        ));
        // literal too large for output
        assert!(matches!(
            decompress(&[0x20, b'a', b'a', 1, 0], 1),
            Err(DecompressError::OutputTooSmall {
                expected: 2,
                actual: 1
            })
        ));
        // match too large for output
        assert!(matches!(
            decompress(&[0x10, b'a', 1, 0], 4),
            Err(DecompressError::OutputTooSmall {
                expected: 5,
                actual: 4
            })
        ));

        // out-of-bounds hot-loop
        assert!(matches!(
            decompress(
                &[0x0E, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                256
            ),
            Err(DecompressError::OffsetOutOfBounds)
        ));
        // out-of-bounds for dict
        assert!(matches!(
            decompress_with_dict(
                &[0x0E, 255, 0, 0x70, 0, 0, 0, 0, 0, 0, 0],
                256,
                &[0_u8; 250]
            ),
            Err(DecompressError::OffsetOutOfBounds)
        ));
        // out-of-bounds non-hot-loop overlapping
        assert!(matches!(
            decompress(&[0x0F, 1, 0, 1, 0x70, 0, 0, 0, 0, 0, 0, 0], 256),
            Err(DecompressError::OffsetOutOfBounds)
        ));
        // out-of-bounds non-hot-loop non-overlapping
        assert!(matches!(
            decompress(&[0x40, 0, 0, 0, 0, 255, 0, 0x70, 0, 0, 0, 0, 0, 0, 0], 256),
            Err(DecompressError::OffsetOutOfBounds)
        ));
    }

    #[test]
    fn offset_0() {
        assert!(matches!(
            decompress(&[0x0E, 0, 0, 0x70, 0, 0, 0, 0, 0, 0, 0], 256),
            Err(DecompressError::OffsetZero)
        ));
    }
}
