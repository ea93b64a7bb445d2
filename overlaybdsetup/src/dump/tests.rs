// SPDX-License-Identifier: GPL-2.0

//! `dump` from end to end: files of each kind, and files with something wrong, as JSON and as text.

use super::run;
use super::text::NAME_WIDTH;
use crate::error::Result;
use crate::fixture::Files;
use overlaybd_format::zfile::Algorithm;
use overlaybd_image::{fix_digest, LayerWriter, Wrapper, ZfileWriter};
use serde_json::Value;
use std::path::PathBuf;

/// 24 sectors of data, 7 zeroed ones.
fn layer() -> LayerWriter {
    LayerWriter::new(1 << 20)
        .data(8, &[1; 8192])
        .data(100, &[2; 4096])
        .zeros(40, 7)
}

fn text(files: &[PathBuf], extents: bool) -> (String, Result<()>) {
    let mut out = Vec::new();
    let result = run(files, false, extents, &mut out);
    (String::from_utf8(out).unwrap(), result)
}

fn json(files: &[PathBuf], extents: bool) -> (Value, Result<()>) {
    let mut out = Vec::new();
    let result = run(files, true, extents, &mut out);
    (serde_json::from_slice(&out).unwrap(), result)
}

/// The dump of a file that is refused with a text that starts with `reason`.
fn refused(file: PathBuf, reason: &str) -> Value {
    let name = file.display().to_string();
    let (mut dump, result) = json(&[file], false);
    let dump = dump[0].take();
    let refusal = dump["refusal"].as_str().unwrap();
    assert!(refusal.starts_with(reason), "{refusal}");
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), format!("{name}: {refusal}"));
    assert_eq!(error.status(), crate::error::Status::Refused);
    dump
}

#[test]
fn a_layer_that_is_not_compressed() {
    let files = Files::new();
    let bytes = layer().tag(3).write();
    let (dump, result) = json(&[files.write("a", &bytes)], true);
    result.unwrap();
    let dump = &dump[0];
    assert_eq!(dump["file_bytes"], bytes.len());
    assert_eq!(dump["payload"]["in_tar"], false);
    assert_eq!(dump["zfile"], Value::Null);
    assert_eq!(dump["refusal"], Value::Null);
    let index = &dump["layer"]["index"];
    assert_eq!(index["offset"], 4096 + 12288);
    assert_eq!(index["entries"], 256);
    assert_eq!(index["padding"], 253);
    assert_eq!(index["empty"], 0);
    assert_eq!(index["data_extents"], 2);
    assert_eq!(index["data_sectors"], 24);
    assert_eq!(index["data_bytes"], 12288);
    assert_eq!(index["zeroed_extents"], 1);
    assert_eq!(index["zeroed_sectors"], 7);
    assert_eq!(index["end_sector"], 108);
    assert_eq!(index["highest_tag"], 3);
    let header = &dump["layer"]["header"];
    assert_eq!(header["flag_names"].as_array().unwrap().len(), 3);
    let trailer = &dump["layer"]["trailer"];
    assert_eq!(trailer["uuid"], "00000000-0000-0000-0000-000000000000");
    assert_eq!(trailer["parent_uuid"], "");
    assert_eq!(trailer["virtual_size"], 1 << 20);
    assert_eq!(trailer["index_size"], 256);
    let extents = dump["layer"]["extents"].as_array().unwrap();
    assert_eq!(extents.len(), 3);
    assert_eq!(extents[0]["start"], 8);
    assert_eq!(extents[0]["sectors"], 16);
    assert_eq!(extents[0]["source"], 8);
    assert_eq!(extents[1]["source"], Value::Null);
    assert_eq!(extents[1]["zeroed"], true);
    assert_eq!(extents[2]["tag"], 3);
}

#[test]
fn a_zfile_in_a_tar() {
    let files = Files::new();
    let content = layer().write();
    for (algorithm, name) in [(Algorithm::Lz4, "lz4"), (Algorithm::Zstd, "zstd")] {
        let zfile = ZfileWriter::new().algorithm(algorithm).write(&content);
        let (dump, result) = json(&[files.write(name, &Wrapper::Pax.wrap(&zfile))], false);
        result.unwrap();
        let dump = &dump[0];
        assert_eq!(dump["payload"]["in_tar"], true);
        assert_eq!(dump["payload"]["offset"], 1536);
        assert_eq!(dump["payload"]["bytes"], zfile.len());
        let found = &dump["zfile"];
        assert_eq!(found["in_use"], "trailer");
        assert_eq!(found["header"]["flags"], 0x13);
        assert_eq!(found["header"]["index_size"], 0);
        assert_eq!(found["trailer"]["flags"], 0x16);
        assert_eq!(
            found["trailer"]["digest"],
            found["trailer"]["computed_digest"]
        );
        let layout = &found["layout"];
        assert_eq!(layout["algorithm"], name);
        assert_eq!(layout["block_size"], 4096);
        assert_eq!(layout["content_bytes"], content.len());
        let count = content.len().div_ceil(4096);
        assert_eq!(layout["blocks"], count);
        assert_eq!(layout["block_checksums"], true);
        let blocks = &found["blocks"];
        let stored = zfile.len() - 1024 - 4 * count;
        assert_eq!(blocks["bytes"], stored);
        assert_eq!(blocks["mean"], stored as f64 / count as f64);
        assert_eq!(blocks["ratio"], stored as f64 / content.len() as f64);
        let smallest = blocks["smallest"].as_u64().unwrap();
        let largest = blocks["largest"].as_u64().unwrap();
        assert!(4 < smallest && smallest < largest && largest < 4096);
        assert_eq!(dump["layer"]["index"]["data_extents"], 2);
        assert_eq!(dump["layer"]["extents"], Value::Null);
    }
}

#[test]
fn a_header_that_says_it_all_needs_no_trailer() {
    let files = Files::new();
    let zfile = ZfileWriter::new()
        .overwrite_header(true)
        .verify(false)
        .write(&layer().write());
    let whole = files.write("whole", &zfile);
    let cut = files.write("cut", &zfile[..zfile.len() - 512]);
    let (dump, result) = json(&[whole, cut], false);
    result.unwrap();
    for number in [0, 1] {
        assert_eq!(dump[number]["zfile"]["in_use"], "header");
        assert_eq!(dump[number]["zfile"]["layout"]["block_checksums"], false);
    }
    assert_eq!(dump[0]["zfile"]["trailer"]["magic"], true);
    assert_eq!(dump[1]["zfile"]["trailer"], Value::Null);
}

#[test]
fn other_content_is_no_refusal_but_as_it_is() {
    let files = Files::new();
    let other = [7; 10_000];
    let (dump, result) = json(&[files.write("z", &ZfileWriter::new().write(&other))], true);
    result.unwrap();
    let why = dump[0]["no_layer"].as_str().unwrap();
    assert!(why.starts_with("LSMT header: wrong magic"), "{why}");
    assert_eq!(dump[0]["layer"], Value::Null);
    let short = ZfileWriter::new().write(&[7; 100]);
    let (dump, result) = json(&[files.write("s", &short)], true);
    result.unwrap();
    let why = dump[0]["no_layer"].as_str().unwrap();
    assert!(why.starts_with("LSMT: too short"), "{why}");
    let reason = "it is neither a ZFile nor a layer: LSMT header: wrong magic";
    let dump = refused(files.write("raw", &other), reason);
    assert_eq!(dump["file_bytes"], 10_000);
    refused(files.write("gz", b"\x1f\x8b and more"), "it is a gzip file");
    refused(files.path("none"), "cannot read");
}

#[test]
fn no_data_is_read() {
    let files = Files::new();
    let content = layer().write();
    let mut zfile = ZfileWriter::new().write(&content);
    let (dump, _) = json(&[files.write("good", &zfile)], false);
    // The second block, after the header of the layer.
    let first = zfile.len() - 512 - 4 * content.len().div_ceil(4096);
    let len = u32::from_le_bytes(zfile[first..first + 4].try_into().unwrap());
    let second = 512 + len as usize;
    zfile[second + 10] ^= 1;
    let (damaged, result) = json(&[files.write("good", &zfile)], false);
    result.unwrap();
    assert_eq!(damaged, dump);
    // The first block, which contains the header.
    zfile[600] ^= 1;
    let dump = refused(
        files.write("bad", &zfile),
        "ZFile block: wrong CRC (block 0:",
    );
    assert_eq!(dump["layer"]["header"], Value::Null);
    assert_eq!(dump["layer"]["trailer"]["magic"], true);
    assert_eq!(dump["layer"]["index"]["data_extents"], 2);
}

#[test]
fn what_is_refused_is_shown_as_far_as_it_goes() {
    let files = Files::new();
    let zfile = ZfileWriter::new().write(&layer().write());

    let mut bad = zfile.clone();
    let at = bad.len() - 512;
    bad[at + 64] ^= 1;
    fix_digest(&mut bad[at..]);
    let dump = refused(files.write("crc", &bad), "ZFile index: wrong CRC");
    assert_eq!(dump["zfile"]["layout"]["block_size"], 4096);
    assert_eq!(dump["zfile"]["blocks"], Value::Null);

    let mut bad = zfile.clone();
    bad[76] = 9;
    let dump = refused(files.write("digest", &bad), "ZFile header: wrong digest");
    assert_eq!(dump["zfile"]["header"]["algo"], 9);
    assert_eq!(dump["zfile"]["trailer"]["algo"], 1);
    assert_eq!(dump["zfile"]["layout"], Value::Null);

    let cut = &zfile[..zfile.len() - 100];
    let dump = refused(files.write("cut", cut), "ZFile trailer: wrong magic");
    assert_eq!(dump["zfile"]["header"]["magic"], true);
    assert_eq!(dump["zfile"]["trailer"]["magic"], false);
    let dump = refused(files.write("short", &zfile[..100]), "ZFile: too short");
    assert_eq!(dump["zfile"]["header"], Value::Null);

    let good = layer().write();
    let mut bad = good.clone();
    let index = 4096 + 12288;
    let (first, second) = bad[index..index + 32].split_at_mut(16);
    first.swap_with_slice(second);
    let dump = refused(files.write("order", &bad), "LSMT index: entries out of");
    assert_eq!(dump["layer"]["index"]["data_extents"], 2);

    let mut bad = good.clone();
    bad[3] ^= 1;
    let dump = refused(files.write("magic", &bad), "LSMT header: wrong magic");
    assert_eq!(dump["layer"]["header"]["magic"], false);
    assert_eq!(dump["layer"]["index"]["data_extents"], 2);

    // An index that is not inside the layer is not read, and neither is one that readers refuse.
    for (at, bytes) in [(32, u64::MAX), (40, 1 << 60), (40, 1_000_001)] {
        let mut bad = good.clone();
        let trailer = bad.len() - 4096;
        bad[trailer + at..][..8].copy_from_slice(&bytes.to_le_bytes());
        let dump = refused(files.write("index", &bad), "LSMT index: ");
        assert_eq!(dump["layer"]["index"], Value::Null);
        assert_eq!(dump["layer"]["trailer"]["magic"], true);
    }
}

#[test]
fn one_bad_file_does_not_keep_others_from_being_shown() {
    let files = Files::new();
    let good = files.write("good", &layer().write());
    let bad = files.write("bad", b"none");
    let (dump, result) = json(&[bad.clone(), good.clone(), bad.clone()], false);
    assert_eq!(dump.as_array().unwrap().len(), 3);
    assert_eq!(dump[1]["refusal"], Value::Null);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("2 files are refused, the first one "));
    let (text, result) = text(&[bad, good], false);
    result.unwrap_err();
    assert!(text.contains("\nREFUSED:             it is neither"));
    assert!(text.contains("\nData:                2 extents, 24 sectors, 12288 bytes\n"));
}

#[test]
fn text_is_aligned_and_harmless() {
    let files = Files::new();
    let mut bytes = layer().write();
    for area in [0, bytes.len() - 4096] {
        bytes[area + 134..][..13].copy_from_slice(b"a \"tag\"\x1b[31m\xff");
    }
    let zfile = ZfileWriter::new().digest(false).write(&bytes);
    let (text, result) = text(&[files.write("a\nb", &zfile)], true);
    result.unwrap();
    assert!(text.lines().next().unwrap().ends_with("a\\nb"));
    assert!(text.contains("\nUser tag:            a \"tag\"\\u{1b}[31m\u{fffd}\n"));
    assert!(text.contains("\nFlags:               0x7ffea4640b46 (data, sealed)\n"));
    assert!(text.contains(", not in use\n"));
    assert!(text.contains("               8       16                  8    0\n"));
    assert!(text.contains("              40        7             zeroed    0\n"));
    for line in text.lines() {
        assert_eq!(line, line.trim_end());
        if let Some((name, value)) = line.split_once(": ") {
            assert!(name.len() < NAME_WIDTH, "{line}");
            let at = line.len() - value.trim_start().len();
            assert_eq!(at, NAME_WIDTH + 1, "{line}");
        }
    }
}
