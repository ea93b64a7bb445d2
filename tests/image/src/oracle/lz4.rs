// SPDX-License-Identifier: GPL-2.0

//! Decodes LZ4 blocks byte by byte, from the definition of the format alone: slow, and too simple
//! to have the errors of a fast decoder. It also checks the format's rules for the end of a block,
//! on which decoders differ.

/// Why a block is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends within a sequence.
    Cut,
    /// It has more content than there is room.
    TooLong,
    /// A match has the offset 0.
    ZeroOffset,
    /// A match starts before the content.
    OffsetTooFar,
}

/// The content of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The content.
    pub content: Vec<u8>,
    /// Whether it ends as every encoder must end a block, if the room is its length: the last five
    /// bytes are literals, and no match starts within the last twelve. The fast decoder of the
    /// reference implementation relies on it, and refuses some blocks that do not.
    pub proper_end: bool,
}

/// Decodes a block into at most `room` bytes.
///
/// # Errors
///
/// The first [`Fault`] of the block.
pub fn decode(block: &[u8], room: usize) -> Result<Decoded, Fault> {
    let mut input = block.iter();
    let mut content = Vec::new();
    let mut proper_end = true;
    loop {
        let token = usize::from(*input.next().ok_or(Fault::Cut)?);
        let literals = length(token >> 4, &mut input)?;
        if literals > input.len() {
            return Err(Fault::Cut);
        }
        if literals > room - content.len() {
            return Err(Fault::TooLong);
        }
        let (now, rest) = input.as_slice().split_at(literals);
        content.extend_from_slice(now);
        if rest.is_empty() {
            return Ok(Decoded {
                content,
                proper_end,
            });
        }
        // A match follows, and after it at least a token and five literals.
        proper_end &= room - content.len() >= 12 && rest.len() >= 2 + 1 + 5;
        let (offset, rest) = rest.split_first_chunk::<2>().ok_or(Fault::Cut)?;
        let offset = usize::from(u16::from_le_bytes(*offset));
        input = rest.iter();
        if offset == 0 {
            return Err(Fault::ZeroOffset);
        }
        let len = 4 + length(token & 15, &mut input)?;
        if len > room - content.len() {
            return Err(Fault::TooLong);
        }
        let start = content
            .len()
            .checked_sub(offset)
            .ok_or(Fault::OffsetTooFar)?;
        for at in start..start + len {
            content.push(content[at]);
        }
        proper_end &= room - content.len() >= 5 && input.len() > 5;
    }
}

/// A length whose first four bits are `start`.
fn length(start: usize, input: &mut std::slice::Iter<'_, u8>) -> Result<usize, Fault> {
    let mut len = start;
    if start == 15 {
        loop {
            let byte = *input.next().ok_or(Fault::Cut)?;
            len += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_an_overlapping_match() {
        // Two literals, a match of nine bytes two back, six literals.
        let block = b"\x25ab\x02\x00\x60cdefgh";
        let decoded = decode(block, 17).unwrap();
        assert_eq!(decoded.content, b"abababababacdefgh");
        assert!(decoded.proper_end);
    }

    #[test]
    fn long_lengths() {
        let mut block = vec![0xf0, 255, 3];
        block.extend([7; 273]);
        assert_eq!(decode(&block, 273).unwrap().content, [7; 273]);
        assert_eq!(decode(&block, 272), Err(Fault::TooLong));
        assert_eq!(decode(&block[..200], 273), Err(Fault::Cut));
    }

    #[test]
    fn faults() {
        assert_eq!(decode(b"", 10), Err(Fault::Cut));
        assert_eq!(decode(b"\x10a\x00\x00\x00", 10), Err(Fault::ZeroOffset));
        assert_eq!(decode(b"\x10a\x02\x00\x00", 10), Err(Fault::OffsetTooFar));
        assert_eq!(decode(b"\x10a\x01", 10), Err(Fault::Cut));
        assert_eq!(decode(b"\x10a\x01\x00\x00", 4), Err(Fault::TooLong));
        let improper = decode(b"\x10a\x01\x00\x00", 5).unwrap();
        assert_eq!(
            (improper.content, improper.proper_end),
            (b"aaaaa".to_vec(), false)
        );
    }

    #[test]
    fn blocks_of_the_encoder_end_properly() {
        let content: Vec<u8> = (0..5000u32).map(|at| (at / 37 % 11) as u8).collect();
        for len in [1, 5, 12, 13, 100, 5000] {
            let mut block = vec![0; lz4_flex::block::get_maximum_output_size(len)];
            let end = lz4_flex::block::compress_into(&content[..len], &mut block).unwrap();
            block.truncate(end);
            let decoded = decode(&block, len).unwrap();
            assert_eq!(decoded.content, content[..len]);
            assert!(decoded.proper_end, "{len} bytes");
        }
    }
}
