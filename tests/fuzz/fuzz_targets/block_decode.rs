// SPDX-License-Identifier: GPL-2.0

//! Any stored block through `decode`: its result is that of the C library, to the last byte, and
//! has no byte that was in the buffer before.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::units::BlockIndex;
use overlaybd_format::zfile::{decode, BlockError, Layout, Lz4};
use overlaybd_fuzz::{reference_lz4, reference_zstd, Header, Input};
use overlaybd_image::{crc32c, oracle, Zstd};
use std::cell::RefCell;

thread_local! {
    // Reused, as in the kernel: a frame must not have an effect on the next.
    static ZSTD: RefCell<Zstd> = RefCell::new(Zstd::new());
}

fn decode_into(
    layout: &Layout,
    block: u32,
    stored: &[u8],
    lz4: bool,
    poison: u8,
) -> Result<Vec<u8>, BlockError> {
    let block = BlockIndex::new(block);
    let mut out = vec![poison; layout.block_len(block).unwrap_or(0)];
    let done = if lz4 {
        decode(layout, block, stored, &mut out, crc32c, &mut Lz4)
    } else {
        ZSTD.with_borrow_mut(|zstd| decode(layout, block, stored, &mut out, crc32c, zstd))
    };
    done.map(|()| out)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let (lz4, verify) = (how & 1 == 0, how & 2 == 0);
    let block_size = 512u32 << (how >> 5);
    let short = u64::from(input.u16()) % u64::from(block_size);
    let rest = input.rest();
    // The expected content: that of the last of two blocks, mostly of another length.
    let room = (u64::from(block_size) - short) as usize;
    let mut stored = match how >> 2 & 3 {
        // As it is, or compressed.
        0 | 1 => rest.to_vec(),
        _ if lz4 => lz4::block::compress(rest, None, false).unwrap(),
        _ => zstd::bulk::compress(rest, 1).unwrap(),
    };
    if verify && how & 16 == 0 {
        stored.extend(crc32c(100_007, &stored).to_le_bytes());
    }
    let header = Header {
        content_len: 2 * u64::from(block_size) - short,
        blocks: 2,
        index_offset: 1 << 30,
        index_crc: None,
        block_size,
        algorithm: if lz4 { 1 } else { 2 },
        verify,
    };
    let layout = header.open(1 << 31).unwrap();

    let found = decode_into(&layout, 1, &stored, lz4, 0x00);
    assert_eq!(found, decode_into(&layout, 1, &stored, lz4, 0xff));
    assert!(matches!(
        decode_into(&layout, 2, &stored, lz4, 0),
        Err(BlockError::NoSuchBlock { .. })
    ));
    let (min, max) = (
        layout.min_stored_len() as usize,
        layout.max_stored_len() as usize,
    );
    let compressed = stored.len().checked_sub(if verify { 4 } else { 0 });
    let content = match compressed {
        Some(len) if (min..=max).contains(&stored.len()) => {
            let (compressed, crc) = stored.split_at(len);
            if verify && crc32c(100_007, compressed).to_le_bytes() != crc {
                assert!(matches!(found, Err(BlockError::Crc { .. })));
                return;
            }
            if lz4 {
                let wanted = oracle::lz4::decode(compressed, room);
                let reference = reference_lz4(compressed, room);
                if let (Ok(wanted), Some(reference)) = (&wanted, &reference) {
                    assert_eq!(&wanted.content, reference);
                }
                wanted.ok().map(|decoded| decoded.content)
            } else {
                reference_zstd(compressed, room)
            }
        }
        _ => {
            assert!(matches!(found, Err(BlockError::StoredLen { .. })));
            return;
        }
    };
    match (found, content) {
        (Ok(found), Some(content)) => assert_eq!(found, content),
        (Err(BlockError::Short { len, .. }), Some(content)) => {
            assert_eq!(len.get(), content.len() as u64);
            assert!(content.len() < room);
        }
        (Err(BlockError::Damaged { .. }), None) => {}
        (found, content) => panic!("{found:?}, but {content:?}"),
    }
});
