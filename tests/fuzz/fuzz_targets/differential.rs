// SPDX-License-Identifier: GPL-2.0

//! The module's decoders, compared with the C libraries.
//!
//! For Zstandard both are the same library, the module's in a context that is reused, as in the
//! kernel: both refuse, or both decode to the same bytes.
//!
//! For LZ4 a third decoder, written from the definition of the format alone, decides which of the
//! two is correct. The module's decoder agrees with it on every block. The reference implementation
//! differs in two cases, and in no others:
//!
//! - It refuses some blocks that do not end as every encoder ends them, and decodes the others
//!   correctly. The module reads them all: their content is well defined.
//! - It accepts matches with the offset 0, which have no meaning, and fills them with arbitrary
//!   bytes. The module refuses them, as the definition of the format does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lz4::block::CompressionMode;
use overlaybd_format::zfile::{Decompress, Lz4};
use overlaybd_fuzz::{reference_lz4, reference_zstd, Input};
use overlaybd_image::oracle::lz4::{decode, Fault};
use overlaybd_image::Zstd;
use std::cell::RefCell;

thread_local! {
    static ZSTD: RefCell<Zstd> = RefCell::new(Zstd::new());
}

/// The result of one of the module's decoders in a buffer of poison. It may write any byte, but
/// none of the bytes that it reports as content may be poison.
fn ours(codec: &mut impl Decompress, block: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut decode = |poison| {
        let mut out = vec![poison; room];
        let len = codec.decompress(block, &mut out)?;
        assert!(len <= room);
        out.truncate(len);
        Some(out)
    };
    let content = decode(0xa5);
    assert_eq!(content, decode(0x5a));
    content
}

fn lz4(block: &[u8], room: usize) {
    let found = ours(&mut Lz4, block, room);
    let reference = reference_lz4(block, room);
    match decode(block, room) {
        Ok(defined) => {
            assert_eq!(found.as_ref(), Some(&defined.content));
            match reference {
                Some(reference) => assert_eq!(reference, defined.content),
                None => assert!(!defined.proper_end, "refused by the reference alone"),
            }
        }
        Err(fault) => {
            assert_eq!(found, None, "accepted in spite of {fault:?}");
            assert!(
                reference.is_none() || fault == Fault::ZeroOffset,
                "accepted by the reference in spite of {fault:?}"
            );
        }
    }
}

fn zstd(frame: &[u8], room: usize) {
    let found = ZSTD.with_borrow_mut(|zstd| ours(zstd, frame, room));
    assert_eq!(found, reference_zstd(frame, room));
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let room = usize::from(input.u16()) + 1;
    let level = input.u8();
    let changes = if how & 2 == 0 {
        0
    } else {
        usize::from(input.u8() % 8)
    };
    let changes: Vec<[u8; 3]> = (0..changes).map(|_| input.array()).collect();
    let repeat = usize::from(input.u8()) % 16 + 1;
    let mut content = input.rest().repeat(repeat);
    if how & 1 == 0 {
        lz4(&content, room);
        zstd(&content, room);
        return;
    }

    // The compressed input, unchanged or with a few changes. There are no empty blocks, and the
    // high compression mode of the C library crashes on them.
    if content.is_empty() {
        return;
    }
    content.truncate(65536);
    let is_lz4 = how & 4 == 0;
    let mut block = if is_lz4 {
        let mode = match level {
            0..=99 => CompressionMode::DEFAULT,
            100..=179 => CompressionMode::FAST(i32::from(level) - 99),
            _ => CompressionMode::HIGHCOMPRESSION(i32::from(level) % 12 + 1),
        };
        lz4::block::compress(&content, Some(mode), false).unwrap()
    } else {
        zstd::bulk::compress(&content, i32::from(level % 13) - 3).unwrap()
    };
    let whole = changes.is_empty();
    for [low, high, value] in changes {
        let at = usize::from(u16::from_le_bytes([low, high])) % block.len();
        block[at] ^= value;
    }
    // Room for its length, or another.
    let room = if how & 8 == 0 { content.len() } else { room };
    if is_lz4 {
        if whole && room >= content.len() {
            assert_eq!(ours(&mut Lz4, &block, room), Some(content));
        }
        lz4(&block, room);
    } else {
        if whole && room >= content.len() {
            let found = ZSTD.with_borrow_mut(|zstd| ours(zstd, &block, room));
            assert_eq!(found, Some(content));
        }
        zstd(&block, room);
    }
});
