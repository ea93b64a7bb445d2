// SPDX-License-Identifier: GPL-2.0

//! Any header and trailer: a layout that opens has the properties that `Layout` documents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::units::{BlockIndex, Bytes};
use overlaybd_format::zfile::{open, HeaderOutcome, OpenError};
use overlaybd_format::FormatError;
use overlaybd_fuzz::Input;
use overlaybd_image::{crc32c, fix_digest};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    // Mostly lengths that a file may have.
    let len = match how >> 6 {
        0 => input.u64(),
        _ => u64::from(input.u16()),
    };
    let mut areas = [[0u8; 512]; 2];
    for (number, area) in areas.iter_mut().enumerate() {
        // The fields first, then the bytes after them, up to the end of the input.
        *area = input.array();
        if how & 1 == 0 {
            area[..24].copy_from_slice(b"ZFile\0\x01\0tuji.yyf@Alibaba");
        }
        if how & 2 == 0 {
            area[32] = area[32] & !7 | [3, 6][number];
        }
        if how & 4 == 0 {
            area[76] = 1 + area[76] % 2;
            area[84..88].fill(0);
        }
        if how & 8 == 0 {
            fix_digest(area);
        }
    }
    let result = open(&areas[0], Bytes::new(len), crc32c);
    let (result, limit) = match result {
        Ok(HeaderOutcome::Complete(layout)) => (Ok(layout), len),
        Ok(HeaderOutcome::NeedsTrailer(pending)) => {
            assert_eq!(pending.offset().get(), len - 512);
            (pending.finish(&areas[1], crc32c), len - 512)
        }
        Err(error) => (Err(error), 0),
    };
    let layout = match result {
        Ok(layout) => layout,
        Err(error) => {
            assert!(!matches!(
                error,
                OpenError::IndexEntry { .. } | OpenError::IndexCrc { .. }
            ));
            let text = error.to_string();
            assert!(text.starts_with(error.message().to_str().unwrap()));
            let _ = error.kind();
            return;
        }
    };

    let size = u64::from(layout.block_size().get());
    let blocks = u64::from(layout.block_count());
    let content = layout.content_len().get();
    assert!(size.is_power_of_two() && (512..=65536).contains(&size));
    assert!(content > 0 && (1..=1_000_000_000).contains(&blocks));
    assert!((blocks - 1) * size < content && content <= blocks * size);
    assert_eq!(layout.index_len().get(), 4 * blocks);
    assert!(layout.index_offset().get() >= 512);
    assert!(layout.index_offset().get() + 4 * blocks <= limit);
    assert_eq!(layout.zfile_len().get(), len);
    let last = BlockIndex::new(layout.block_count() - 1);
    let last_len = layout.block_len(last).unwrap() as u64;
    assert_eq!((blocks - 1) * size + last_len, content);
    assert_eq!(layout.block_len(last.next().unwrap()), None);
});
