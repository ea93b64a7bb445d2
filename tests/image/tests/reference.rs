// SPDX-License-Identifier: GPL-2.0

//! Every row of the manifest of the reference images: the image is refused, or is read and compared
//! with the result of the reference reader.

use overlaybd_format::zfile::Algorithm;
use overlaybd_image::{
    load_layer, sha256, Blob, Corpus, Damage, Error, Payload, ReadAt, Slice, Stack, Verdict,
    ZfileReader,
};

fn algorithm(name: &str) -> Algorithm {
    match name {
        "lz4" => Algorithm::Lz4,
        "zstd" => Algorithm::Zstd,
        other => panic!("no algorithm {other}"),
    }
}

fn zfiles(corpus: &Corpus) {
    for row in &corpus.manifest.zfiles {
        let name = &row.file;
        let image = corpus.image(name);
        let payload = Payload::find(&image).unwrap();
        assert_eq!(payload.offset, row.payload_offset, "{name}");
        assert_eq!(payload.len, row.payload_bytes, "{name}");
        let bytes = Slice::new(image, payload.offset, payload.len);
        if row.content_bytes == 0 {
            let error = ZfileReader::open(bytes).unwrap_err();
            assert_eq!(error.to_string(), "ZFile: content is empty", "{name}");
            continue;
        }
        let zfile = ZfileReader::open(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let layout = zfile.layout();
        assert_eq!(layout.algorithm(), algorithm(&row.algo), "{name}");
        assert_eq!(layout.block_size().get(), row.block_size, "{name}");
        assert_eq!(layout.verify(), row.verify, "{name}");
        assert_eq!(zfile.len(), row.content_bytes, "{name}");
        let sum = sha256(&zfile, 0, zfile.len()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(sum, row.content_sha256, "{name}");
    }
}

fn layers(corpus: &Corpus) {
    for row in &corpus.manifest.layers {
        let name = &row.file;
        let image = corpus.image(name);
        let payload = Payload::find(&image).unwrap();
        assert_eq!(payload.offset, row.payload_offset, "{name}");
        assert_eq!(payload.len, row.payload_bytes, "{name}");
        let blob = Blob::open(image).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(blob.len(), row.content_bytes, "{name}");
        match &blob {
            Blob::Raw(_) => assert!(!row.zfile, "{name}"),
            Blob::Zfile(zfile) => {
                let layout = zfile.layout();
                let algo = row.algo.as_deref().unwrap();
                assert_eq!(layout.algorithm(), algorithm(algo), "{name}");
                assert_eq!(Some(layout.block_size().get()), row.block_size, "{name}");
                assert_eq!(Some(layout.verify()), row.verify, "{name}");
            }
        }
        load_layer(&blob).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn stacks(corpus: &Corpus) {
    for row in &corpus.manifest.stacks {
        let names = &row.layers;
        let stack = Stack::open(names.iter().map(|name| corpus.image(name)))
            .unwrap_or_else(|error| panic!("{names:?}: {error}"));
        assert_eq!(stack.len(), row.virtual_size, "{names:?}");
        if let Some(segments) = row.merged_segments {
            assert_eq!(stack.map().len(), segments, "{names:?}");
        }
        if let Some(expected) = &row.sha256 {
            let sum = sha256(&stack, 0, stack.len()).unwrap();
            assert_eq!(&sum, expected, "{names:?}");
        }
        for range in &row.ranges {
            let sum = sha256(&stack, range.offset, range.bytes).unwrap();
            assert_eq!(sum, range.sha256, "{names:?} at {}", range.offset);
        }
        assert!(row.sha256.is_some() || !row.ranges.is_empty());
    }
}

/// Opens a row like the target that its kind names, and returns the content.
fn open(corpus: &Corpus, row: &Damage) -> Result<Box<dyn ReadAt>, Error> {
    let image = corpus.image(&row.file);
    match row.kind.as_str() {
        "zfile" => Ok(Box::new(ZfileReader::open(image)?)),
        "lsmt" => Ok(Box::new(Stack::open([image])?)),
        other => panic!("no kind {other}"),
    }
}

/// What the text of the error must name, for each file that must be refused.
fn check_named(file: &str) -> &'static str {
    match file.trim_start_matches("neg/").split('_').next().unwrap() {
        "z01" | "z02" => "ZFile header: wrong magic",
        "z03" => "ZFile header: wrong digest",
        "z05" => "ZFile trailer: wrong digest",
        "z07" => "ZFile trailer: not sealed",
        "z08" => "ZFile trailer: not marked as data file",
        "z10" => "ZFile index: wrong CRC",
        "z15" | "z16" | "z17" | "z19" => "ZFile index: invalid block length",
        "z21" | "z25" => "ZFile index: size does not match content size",
        "z22" => "ZFile index: too many entries",
        "z24" => "ZFile index: outside of the file",
        "z27" | "z28" => "ZFile: unknown compression algorithm",
        "z30" | "z31" | "z32" => "ZFile: invalid block size",
        "z34" => "ZFile: dictionaries are not supported",
        "z37" | "z39" => "ZFile trailer: wrong magic",
        "z41" => "ZFile: too short for header and trailer",
        "l01" => "LSMT header: wrong magic",
        "l02" => "LSMT header: not marked as header",
        "l03" => "LSMT header: not marked as data file",
        "l04" | "l25" | "l26" => "LSMT trailer: wrong magic",
        "l05" => "LSMT trailer: not sealed",
        "l06" => "LSMT trailer: not marked as data file",
        "l08" => "LSMT index: too many entries",
        "l09" | "l10" => "LSMT index: outside of the layer",
        "l11" => "LSMT index: entries out of order",
        "l13" | "l14" | "l16" | "l18" => "LSMT index: data outside of the layer",
        "l20" => "LSMT: virtual size is not a multiple of 512",
        "l27" => "LSMT: too short for header and trailer",
        other => panic!("no check is known for {other}"),
    }
}

fn malformed(corpus: &Corpus) {
    for row in &corpus.manifest.malformed {
        let label = format!("{} ({})", row.file, row.what);
        let opened = open(corpus, row);
        match row.verdict {
            Verdict::Reads => {
                let content = opened.unwrap_or_else(|error| panic!("{label}: {error}"));
                assert_eq!(Some(content.len()), row.content_bytes, "{label}");
                let sum = sha256(&content, 0, content.len()).unwrap();
                assert_eq!(Some(sum), row.content_sha256, "{label}");
            }
            Verdict::Rejected => match opened {
                Ok(_) => panic!("{label}: opened"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.starts_with(check_named(&row.file)), "{label}: {text}");
                }
            },
            Verdict::BlockError => {
                let content = opened.unwrap_or_else(|error| panic!("{label}: {error}"));
                let good = ZfileReader::open(corpus.image("neg/z00_ok_trailer.zf")).unwrap();
                assert_eq!(content.len(), good.len(), "{label}");
                for at in (0..content.len()).step_by(512) {
                    let (mut found, mut expected) = ([0; 512], [0; 512]);
                    let result = content.read_at(at, &mut found);
                    if at < 4096 {
                        let error = result.expect_err(&label).to_string();
                        assert!(
                            error.starts_with("ZFile block: wrong CRC (block 0:"),
                            "{error}"
                        );
                    } else {
                        result.unwrap_or_else(|error| panic!("{label} at {at}: {error}"));
                        good.read_at(at, &mut expected).unwrap();
                        assert_eq!(found, expected, "{label} at {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_zfile() {
    zfiles(&Corpus::find());
}

#[test]
fn every_layer() {
    layers(&Corpus::find());
}

#[test]
fn every_stack() {
    stacks(&Corpus::find());
}

#[test]
fn every_malformed_file() {
    malformed(&Corpus::find());
}

/// The committed set is complete in itself, even where the other tests use the larger one.
#[test]
fn the_committed_set() {
    let corpus = Corpus::committed();
    let manifest = &corpus.manifest;
    assert!(!manifest.zfiles.is_empty() && !manifest.layers.is_empty());
    assert!(!manifest.stacks.is_empty() && !manifest.malformed.is_empty());
    zfiles(&corpus);
    layers(&corpus);
    stacks(&corpus);
    malformed(&corpus);
}
