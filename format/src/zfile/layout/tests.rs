// SPDX-License-Identifier: GPL-2.0

//! Headers and trailers with one field wrong, and files that open.

use super::*;
use crate::{
    testing::crc32c,
    zfile::testing::{
        Fields,
        DATA,
        DIGEST,
        HEADER,
        OVERWRITTEN,
        SEALED, //
    },
    ErrorKind,
    FormatError, //
};
use std::string::ToString;

/// Opens a file by its header alone, which has the overwritten flag.
fn complete(fields: Fields) -> Result<Layout, OpenError> {
    match open(&fields.area(), Bytes::new(LEN), crc32c)? {
        HeaderOutcome::Complete(layout) => Ok(layout),
        HeaderOutcome::NeedsTrailer(_) => panic!("the header is complete"),
    }
}

/// Opens a file by a valid header and this trailer.
fn by_trailer(trailer: &[u8; HEADER_LEN]) -> Result<Layout, OpenError> {
    let header = Fields {
        flags: HEADER | DATA | DIGEST,
        ..Fields::ZERO
    };
    match open(&header.area(), Bytes::new(LEN), crc32c)? {
        HeaderOutcome::Complete(_) => panic!("the header is not complete"),
        HeaderOutcome::NeedsTrailer(pending) => {
            assert_eq!(pending.offset().get(), LEN - 512);
            pending.finish(trailer, crc32c)
        }
    }
}

const LEN: u64 = 100_000;

/// 17 blocks, the last of 512 bytes.
const GOOD: Fields = Fields {
    flags: HEADER | DATA | OVERWRITTEN | DIGEST,
    index_offset: 40_000,
    index_size: 17,
    content_len: 66_048,
    index_crc: 0x1234_5678,
    block_size: 4096,
    algorithm: 1,
    dictionary_len: 0,
    verify: 1,
};

const GOOD_TRAILER: Fields = Fields {
    flags: DATA | SEALED | DIGEST,
    ..GOOD
};

#[test]
fn the_header_vector_of_the_format() {
    let area = Fields {
        flags: 0x13,
        block_size: 4096,
        algorithm: 1,
        verify: 1,
        ..Fields::ZERO
    }
    .area();
    assert_eq!(area[28..32], [0xfc, 0x12, 0xa2, 0xc7]);
}

#[test]
fn a_good_file_opens_both_ways() {
    for layout in [complete(GOOD), by_trailer(&GOOD_TRAILER.area())] {
        let layout = layout.unwrap();
        assert_eq!(layout.zfile_len().get(), LEN);
        assert_eq!(layout.content_len().get(), 66_048);
        assert_eq!(layout.block_size().get(), 4096);
        assert_eq!(layout.algorithm(), Algorithm::Lz4);
        assert!(layout.verify());
        assert_eq!(layout.block_count(), 17);
        assert_eq!(layout.index_offset().get(), 40_000);
        assert_eq!(layout.index_len().get(), 68);
        assert_eq!(layout.index_crc(), Some(0x1234_5678));
        assert_eq!(layout.min_stored_len(), 5);
        assert_eq!(layout.max_stored_len(), 4612);
        assert_eq!(layout.block_len(BlockIndex::new(0)), Some(4096));
        assert_eq!(layout.block_len(BlockIndex::new(15)), Some(4096));
        assert_eq!(layout.block_len(BlockIndex::new(16)), Some(512));
        assert_eq!(layout.block_len(BlockIndex::new(17)), None);
        assert_eq!(layout.block_len(BlockIndex::new(u32::MAX)), None);
    }
}

#[test]
fn values_that_differ_between_writers_are_read() {
    for verify in [0, 1, 2, 255] {
        let layout = complete(Fields { verify, ..GOOD }).unwrap();
        assert_eq!(layout.verify(), verify != 0);
    }
    let zstd = complete(Fields {
        algorithm: 2,
        ..GOOD
    });
    assert_eq!(zstd.unwrap().algorithm(), Algorithm::Zstd);
    // "The index is compressed": declared, never done.
    let compressed_index = complete(Fields {
        flags: GOOD.flags | 1 << 5,
        ..GOOD
    });
    assert_eq!(compressed_index.unwrap().block_count(), 17);
    // An overwritten header need not be marked as data, as the format's own reader has it.
    let untyped = complete(Fields {
        flags: HEADER | OVERWRITTEN | DIGEST,
        ..GOOD
    });
    assert_eq!(untyped.unwrap().block_count(), 17);
}

#[test]
fn garbage_of_old_files_is_ignored() {
    let header = Fields {
        flags: 0x7ffe_a464_0b43,
        index_offset: u64::MAX,
        index_size: u64::MAX,
        index_crc: 0xdead_beef,
        ..Fields::ZERO
    };
    let mut header = header.area();
    header[28..32].fill(0x55);
    header[68..72].fill(0x55);
    header[77..84].fill(0x55);
    header[89..].fill(0x55);
    let trailer = Fields {
        flags: 0x7ffe_a464_0b46,
        index_crc: 0xdead_beef,
        ..GOOD
    };
    let mut trailer = trailer.area();
    trailer[24..32].fill(0xaa);
    trailer[68..72].fill(0xaa);
    trailer[77..84].fill(0xaa);
    trailer[89..].fill(0xaa);
    let Ok(HeaderOutcome::NeedsTrailer(pending)) = open(&header, Bytes::new(LEN), crc32c) else {
        panic!("an old header is valid and not complete");
    };
    let layout = pending.finish(&trailer, crc32c).unwrap();
    assert_eq!(layout.index_crc(), None);
    assert_eq!(layout.block_count(), 17);
}

#[test]
fn too_short() {
    let short = |fields: Fields, len| open(&fields.area(), Bytes::new(len), crc32c);
    let error = |len, needed| {
        Err(OpenError::Structure(StructureError::TooShort {
            len: Bytes::new(len),
            needed: Bytes::new(needed),
        }))
    };
    assert_eq!(short(GOOD, 0), error(0, 512));
    assert_eq!(short(GOOD, 511), error(511, 512));
    let needs_trailer = Fields {
        flags: HEADER | DATA | DIGEST,
        ..Fields::ZERO
    };
    assert_eq!(short(needs_trailer, 1023), error(1023, 1024));
    assert!(short(needs_trailer, 1024).is_ok());
    assert_eq!(short(needs_trailer, 512), error(512, 1024));
}

#[test]
fn header_magic() {
    for at in 0..24 {
        let mut area = GOOD.area();
        area[at] ^= 1;
        let found = *area.first_chunk().unwrap();
        assert_eq!(
            open(&area, Bytes::new(LEN), crc32c),
            Err(OpenError::Structure(StructureError::HeaderMagic { found }))
        );
    }
}

#[test]
fn header_flag_and_type() {
    let flags = DATA | DIGEST;
    assert_eq!(
        complete(Fields { flags, ..GOOD }),
        Err(OpenError::Structure(StructureError::HeaderFlag { flags }))
    );
    let flags = HEADER | DIGEST;
    assert_eq!(
        complete(Fields { flags, ..GOOD }),
        Err(OpenError::Structure(StructureError::HeaderType { flags }))
    );
}

#[test]
fn header_digest_covers_every_byte() {
    let good = GOOD.area();
    let stored = u32::from_le_bytes([good[28], good[29], good[30], good[31]]);
    for at in (28..32).chain(40..HEADER_LEN) {
        let mut area = good;
        area[at] ^= 0x40;
        match open(&area, Bytes::new(LEN), crc32c) {
            Err(OpenError::HeaderDigest {
                stored: found,
                computed,
            }) => {
                assert_ne!(found, computed);
                assert_eq!(found == stored, at >= 32);
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn trailer_magic() {
    let mut area = GOOD_TRAILER.area();
    area[23] ^= 1;
    assert_eq!(
        by_trailer(&area),
        Err(OpenError::Structure(StructureError::TrailerMagic {
            found: *b"ZFile\0\x01\0"
        }))
    );
    assert_eq!(
        by_trailer(&[0; HEADER_LEN]),
        Err(OpenError::Structure(StructureError::TrailerMagic {
            found: [0; 8]
        }))
    );
}

#[test]
fn trailer_flags() {
    let with = |flags| by_trailer(&Fields { flags, ..GOOD }.area());
    let flags = HEADER | DATA | SEALED | DIGEST;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerFlag { flags }))
    );
    let flags = SEALED | DIGEST;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerType { flags }))
    );
    let flags = DATA | DIGEST;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerNotSealed {
            flags
        }))
    );
}

#[test]
fn trailer_digest() {
    let mut area = GOOD_TRAILER.area();
    area[300] = 1;
    assert!(matches!(
        by_trailer(&area),
        Err(OpenError::TrailerDigest { stored, computed }) if stored != computed
    ));
}

#[test]
fn dictionary() {
    let error = complete(Fields {
        dictionary_len: 4,
        ..GOOD
    })
    .unwrap_err();
    assert_eq!(error, OpenError::Dictionary { len: 4 });
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn algorithm() {
    for number in [0, 3, 9, 255] {
        let error = complete(Fields {
            algorithm: number,
            ..GOOD
        })
        .unwrap_err();
        assert_eq!(error, OpenError::Algorithm { number });
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn block_size() {
    for bytes in [0, 1, 256, 511, 513, 12_288, 131_072, 1 << 31, u32::MAX] {
        let error = complete(Fields {
            block_size: bytes,
            ..GOOD
        })
        .unwrap_err();
        assert_eq!(error, OpenError::BlockSize { bytes });
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
    for shift in 9..=16 {
        let size = 1 << shift;
        let layout = complete(Fields {
            block_size: size,
            index_size: 66_048u64.div_ceil(u64::from(size)),
            ..GOOD
        });
        assert_eq!(layout.unwrap().block_size().get(), size);
    }
}

#[test]
fn content_empty() {
    let error = complete(Fields {
        content_len: 0,
        index_size: 0,
        ..GOOD
    })
    .unwrap_err();
    assert_eq!(error, OpenError::ContentEmpty);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn index_too_long() {
    for entries in [
        1_000_000_001,
        1 << 32,
        (1 << 32) + 17,
        (1 << 62) + 17,
        u64::MAX,
    ] {
        let error = complete(Fields {
            index_size: entries,
            ..GOOD
        })
        .unwrap_err();
        let limit = 1_000_000_000;
        assert_eq!(
            error,
            OpenError::Structure(StructureError::IndexTooLong { entries, limit })
        );
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    let most = Fields {
        index_size: 1_000_000_000,
        content_len: 4_096_000_000_000,
        ..GOOD
    };
    let Ok(HeaderOutcome::Complete(layout)) = open(&most.area(), Bytes::new(1 << 40), crc32c)
    else {
        panic!("as large as it may be");
    };
    assert_eq!(layout.block_count(), 1_000_000_000);
    assert_eq!(layout.index_len().get(), 4_000_000_000);
}

#[test]
fn index_size() {
    for (content_len, entries, blocks) in [
        (66_048, 16, 17),
        (66_048, 18, 17),
        (66_048, 0, 17),
        (1 << 62, 17, 1 << 50),
        (u64::MAX, 17, 1 << 52),
    ] {
        let file = complete(Fields {
            content_len,
            index_size: entries,
            ..GOOD
        });
        assert_eq!(file, Err(OpenError::IndexSize { entries, blocks }));
    }
}

#[test]
fn index_place() {
    let error = |offset, limit| {
        Err(OpenError::Structure(StructureError::IndexPlace {
            offset,
            len: Bytes::new(68),
            start: 512,
            limit,
        }))
    };
    for index_offset in [0, 511, LEN - 67, u64::MAX - 67, u64::MAX] {
        let file = complete(Fields {
            index_offset,
            ..GOOD
        });
        assert_eq!(file, error(index_offset, LEN));
    }
    // With an overwritten header the index may end with the file; else the trailer is there.
    for index_offset in [512, LEN - 68] {
        let file = complete(Fields {
            index_offset,
            ..GOOD
        });
        assert_eq!(file.unwrap().index_offset().get(), index_offset);
    }
    let trailer = |index_offset| {
        by_trailer(
            &Fields {
                index_offset,
                ..GOOD_TRAILER
            }
            .area(),
        )
    };
    assert!(trailer(LEN - 512 - 68).is_ok());
    assert_eq!(trailer(LEN - 512 - 67), error(LEN - 512 - 67, LEN - 512));
}

#[test]
fn errors_say_what_and_how_much() {
    let error = OpenError::BlockSize { bytes: 12_288 };
    assert_eq!(error.message(), c"ZFile: invalid block size");
    assert_eq!(error.to_string(), "ZFile: invalid block size (12288 bytes)");
    let error = OpenError::Structure(StructureError::HeaderMagic {
        found: *b"hsqs\0\0\0\0",
    });
    assert_eq!(
        error.to_string(),
        "ZFile header: wrong magic (0x6873717300000000)"
    );
}
