// SPDX-License-Identifier: GPL-2.0

//! `verify` from end to end: files with known faults, and the images of the corpus with the
//! verdicts of their manifest.

use super::hits::MAX_RANGES;
use super::queue::Queue;
use super::run;
use super::subject::{Subject, MAX_FAULTS};
use crate::digest::Algorithm;
use crate::error::{Result, Status};
use crate::fixture::{noise, Files};
use crate::layer::LayerFile;
use indicatif::ProgressBar;
use overlaybd_format::units::BlockIndex;
use overlaybd_image::{
    fix_digest, Corpus, LayerWriter, ReadAt, Verdict as Wanted, Wrapper, ZfileReader, ZfileWriter,
};
use serde_json::Value;

use std::fs::OpenOptions;

/// Sectors 0 to 2047 and 4000 to 4799 of noise: 320 blocks and the areas around them.
fn layer() -> Vec<u8> {
    let noise = noise(2848 * 512);
    LayerWriter::new(16 << 20)
        .data(0, &noise[..2048 * 512])
        .data(4000, &noise[2048 * 512..])
        .write()
}

/// Where a block is in a ZFile.
fn place(zfile: &[u8], block: u32) -> usize {
    let reader = ZfileReader::open(zfile.to_vec()).unwrap();
    let stored = reader.table().stored(BlockIndex::new(block)).unwrap();
    usize::try_from(stored.offset.get()).unwrap()
}

fn check(files: &[LayerFile], whole: bool) -> (Value, Result<()>) {
    let mut out = Vec::new();
    let result = run(files, whole, true, false, &mut out);
    (serde_json::from_slice(&out).unwrap(), result)
}

fn text(files: &[LayerFile], whole: bool) -> (String, Result<()>) {
    let mut out = Vec::new();
    let result = run(files, whole, false, false, &mut out);
    let text = String::from_utf8(out).unwrap();
    let folder = files.first().and_then(|file| file.path.parent());
    let folder = folder.map_or(String::new(), |folder| format!("{}/", folder.display()));
    (text.replace(&folder, ""), result)
}

/// The texts of the faults of a file.
fn faults(report: &Value, file: usize) -> Vec<&str> {
    let faults = report["files"][file]["faults"].as_array().unwrap();
    faults
        .iter()
        .map(|fault| fault["what"].as_str().unwrap())
        .collect()
}

#[test]
fn good_files_of_each_kind() {
    let files = Files::new();
    let layer = layer();
    let lz4 = ZfileWriter::new().write(&layer);
    let zstd = ZfileWriter::new()
        .algorithm(overlaybd_format::zfile::Algorithm::Zstd)
        .block_size(65536)
        .overwrite_header(true)
        .write(&layer);
    let old = ZfileWriter::new().verify(false).digest(false).write(&layer);
    let all = [
        files.layer("raw", &layer),
        files.layer("raw.tar", &Wrapper::Ustar.wrap(&layer)),
        files.layer("lz4", &lz4),
        files.layer("zstd.tar", &Wrapper::Pax.wrap(&zstd)),
        files.layer("old", &old),
        files.layer("other", &ZfileWriter::new().write(&[7; 5001])),
    ];
    let (text, result) = text(&all, false);
    result.unwrap();
    let (len, blocks) = (layer.len(), layer.len() / 4096);
    assert_eq!(
        text,
        format!(
            "raw: ok, not compressed, {len} bytes\n\
             raw.tar: ok, not compressed, {len} bytes\n\
             lz4: ok, {blocks} blocks, {len} bytes\n\
             zstd.tar: ok, {} blocks, {len} bytes\n\
             old: ok, {blocks} blocks, {len} bytes, without checksums of blocks: \
             not all damage can be found\n\
             other: ok, 2 blocks, 5001 bytes, no layer\n",
            layer.len().div_ceil(65536)
        )
    );
    let (report, result) = check(&all, false);
    result.unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["image"], Value::Null);
    assert_eq!(report["files"][2]["kind"], "layer");
    assert_eq!(report["files"][2]["file_bytes"], lz4.len());
    assert_eq!(report["files"][5]["kind"], "zfile");
    assert_eq!(report["files"][0]["blocks"], Value::Null);
}

#[test]
fn damaged_blocks_are_all_told_with_what_they_hit() {
    let files = Files::new();
    let mut zfile = ZfileWriter::new().write(&layer());
    for block in [200, 3, 257] {
        let at = place(&zfile, block);
        zfile[at + 100] ^= 1;
    }
    let tar = files.layer("z", &Wrapper::Pax.wrap(&zfile));
    let (report, result) = check(std::slice::from_ref(&tar), false);
    let name = tar.path.display();
    let error = result.unwrap_err();
    assert_eq!(error.status(), Status::Refused);
    assert_eq!(error.to_string(), format!("{name}: 3 faults"));
    assert_eq!(report["ok"], false);
    let file = &report["files"][0];
    assert_eq!(file["kind"], "layer");
    assert_eq!(file["more_faults"], 0);
    let sectors = [(3, 16, 8), (200, 1592, 8), (257, 4000, 8)];
    for (fault, (block, start, count)) in file["faults"].as_array().unwrap().iter().zip(sectors) {
        assert_eq!(fault["block"], block);
        let what = fault["what"].as_str().unwrap();
        let begin = format!("ZFile block: wrong CRC (block {block}: ");
        assert!(what.starts_with(&begin), "{what}");
        let at = 1536 + place(&zfile, block) as u64;
        assert_eq!(fault["offset"], at);
        assert!(what.contains(&format!("at {at} of the file")), "{what}");
        assert!(fault["bytes"].as_u64().unwrap() > 4096);
        assert_eq!(fault["image_sectors"][0]["start"], start);
        assert_eq!(fault["image_sectors"][0]["count"], count);
        assert_eq!(fault["image_sectors"].as_array().unwrap().len(), 1);
    }
    let (text, _) = text(&[tar], false);
    assert!(text.starts_with("z: 3 faults\n  ZFile block: wrong CRC (block 3: "));
    assert!(text.contains("; it hits sectors 16 to 23 of the image\n"));
}

#[test]
fn what_a_layer_above_hides_is_not_hit() {
    let files = Files::new();
    let mut zfile = ZfileWriter::new().write(&layer());
    for block in [1, 3, 200] {
        let at = place(&zfile, block);
        zfile[at + 100] ^= 1;
    }
    // The upper layer hides block 3, sectors 16 to 23, except its second sector, and all of block
    // 200, sectors 1592 to 1599.
    let upper = LayerWriter::new(0)
        .data(16, &[1; 512])
        .zeros(18, 14)
        .data(1500, &noise(100 * 512))
        .write();
    let small = LayerWriter::new(7 * 512).write();
    let below = files.layer("below", &zfile);
    let upper = files.layer("upper", &upper);
    let (report, result) = check(&[below.clone(), upper.clone()], true);
    result.unwrap_err();
    assert_eq!(report["image"]["ok"], true);
    assert_eq!(report["image"]["layers"], 2);
    assert_eq!(report["image"]["virtual_size"], 16 << 20);
    assert_eq!(report["image"]["extents"], 8);
    let hit = |number: usize| {
        report["files"][0]["faults"][number]["image_sectors"]
            .as_array()
            .unwrap()
    };
    assert_eq!(
        (&hit(0)[0]["start"], &hit(0)[0]["count"]),
        (&0.into(), &8.into())
    );
    assert_eq!(
        (&hit(1)[0]["start"], &hit(1)[0]["count"]),
        (&17.into(), &1.into())
    );
    assert_eq!((hit(1).len(), hit(2).len()), (1, 0));
    let (text, _) = text(&[below.clone(), upper.clone()], true);
    assert!(text.contains("; it hits sector 17 of the image\n"));
    assert!(text.contains("; nothing of the image is hit\n"));
    assert!(
        text.ends_with(
            "\nupper: ok, not compressed, 64000 bytes\n\
                            image: 2 layers, 16777216 bytes, 8 extents\n"
        ),
        "{text}"
    );
    // Sectors beyond the end of the image are not hit.
    let (report, _) = check(&[below, files.layer("small", &small)], true);
    let faults = report["files"][0]["faults"].as_array().unwrap();
    assert_eq!(faults[0]["image_sectors"][0]["count"], 7);
    assert_eq!(faults[1]["image_sectors"].as_array().unwrap().len(), 0);
}

#[test]
fn a_block_of_many_extents() {
    let files = Files::new();
    // The second block has every other sector of the image from 2000 on, and sector 2001. There is
    // other data before and after it.
    let mut layer = LayerWriter::new(4 << 20)
        .data(1000, &[7; 61440])
        .data(2000, &[8; 512])
        .data(2001, &[9; 512])
        .data(5000, &[7; 131_072]);
    for sector in 2..100u8 {
        layer = layer.data(2000 + u64::from(sector) * 2, &[sector; 512]);
    }
    let mut zfile = ZfileWriter::new().block_size(65536).write(&layer.write());
    let at = place(&zfile, 1);
    zfile[at + 9] ^= 1;
    let (report, _) = check(&[files.layer("z", &zfile)], false);
    let fault = &report["files"][0]["faults"][0];
    let ranges = fault["image_sectors"].as_array().unwrap();
    assert_eq!(ranges.len(), MAX_RANGES);
    assert_eq!(ranges[0]["count"], 2);
    assert_eq!(ranges[1]["start"], 2004);
    assert_eq!(fault["more_ranges"], 100 - MAX_RANGES);
}

#[test]
fn the_first_faults_are_told_and_the_others_counted() {
    let files = Files::new();
    let mut zfile = ZfileWriter::new().write(&layer());
    for block in 50..350 {
        let at = place(&zfile, block);
        zfile[at + 100] ^= 1;
    }
    let mut file = files.layer("z", &zfile);
    file.size = Some(7);
    let (report, result) = check(&[file.clone()], false);
    assert!(result.unwrap_err().to_string().ends_with(": 301 faults"));
    let told = report["files"][0]["faults"].as_array().unwrap();
    assert_eq!(told.len(), MAX_FAULTS);
    assert_eq!(report["files"][0]["more_faults"], 301 - MAX_FAULTS);
    let what = told[0]["what"].as_str().unwrap();
    assert!(what.ends_with("should have 7: not downloaded to its end, or another file"));
    for (block, fault) in (50..).zip(&told[1..]) {
        assert_eq!(fault["block"], block);
    }
    assert!(text(&[file], false)
        .0
        .ends_with("\n  and 281 faults more\n"));
}

#[test]
fn digests() {
    let files = Files::new();
    let zfile = ZfileWriter::new().write(&layer());
    let contents = [layer(), Wrapper::Pax.wrap(&zfile), zfile, Vec::new()];
    for (number, bytes) in contents.iter().enumerate() {
        let sha256 = Algorithm::Sha256.digest(bytes);
        let sha512 = Algorithm::Sha512.digest(bytes);
        let mut file = files.layer(&number.to_string(), bytes);
        let empty = bytes.is_empty();
        for digest in [sha256, sha512] {
            file.digest = Some(digest.clone());
            file.size = Some(bytes.len() as u64);
            let (report, result) = check(&[file.clone()], false);
            assert_eq!(report["files"][0]["digest"], digest);
            assert_eq!(result.is_err(), empty, "{result:?}");
            let mut wrong = digest.clone();
            wrong.replace_range(7..9, if &wrong[7..9] == "00" { "11" } else { "00" });
            file.digest = Some(wrong.clone());
            let (report, result) = check(&[file.clone()], false);
            result.unwrap_err();
            let told = format!("its digest is {digest}, should be {wrong}");
            assert!(faults(&report, 0).contains(&told.as_str()));
        }
    }
    let mut file = files.layer("ok", &layer());
    file.digest = Some(Algorithm::Sha256.digest(&layer()));
    assert!(text(&[file], false)
        .0
        .ends_with(" bytes, digest as given\n"));
}

#[test]
fn digests_that_are_none_are_refused_by_name() {
    let files = Files::new();
    let mut file = files.layer("a", &layer());
    let short = format!("sha256:{}", "0".repeat(63));
    let upper = format!("sha256:{}", "A".repeat(64));
    let md5 = format!("md5:{}", "0".repeat(32));
    for (digest, wanted) in [
        (short.as_str(), "is no digest"),
        (upper.as_str(), "is no digest"),
        ("sha256", "\"sha256\" is no digest"),
        (
            md5.as_str(),
            "no digest of the kind \"md5\" can be checked: sha256 and sha512 can",
        ),
    ] {
        file.digest = Some(digest.to_string());
        let (report, result) = check(&[file.clone()], false);
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(wanted), "{error}");
        assert_eq!(faults(&report, 0).len(), 1);
        assert_eq!(report["files"][0]["digest"], Value::Null);
    }
}

#[test]
fn what_does_not_open_is_one_fault() {
    let files = Files::new();
    let zfile = ZfileWriter::new().write(&layer());
    let tar = Wrapper::Ustar.wrap(&zfile);
    let mut digest = files.layer("digest", &zfile[..zfile.len() - 1]);
    digest.digest = Some(Algorithm::Sha256.digest(&zfile));
    let all = [
        LayerFile::new(files.path("none")),
        files.layer("cut", &zfile[..zfile.len() - 1]),
        files.layer("cut.tar", &tar[..10_000]),
        files.layer("text", b"some text"),
        files.layer("zeros", &[0; 100_000]),
        files.layer("good", &zfile),
        digest,
    ];
    let (report, result) = check(&all, false);
    let error = result.unwrap_err().to_string();
    assert_eq!(error, "6 of 7 files have something wrong, 7 faults in all");
    let starts = [
        "cannot read",
        "ZFile trailer: wrong magic",
        "",
        "it is neither a ZFile nor a layer: LSMT: too short",
        "it is neither a ZFile nor a layer: LSMT header: wrong magic",
    ];
    for (number, start) in starts.iter().enumerate() {
        let told = faults(&report, number);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(start), "{told:?}");
        assert_eq!(report["files"][number]["kind"], Value::Null);
    }
    assert!(faults(&report, 2)[0].contains("is cut"));
    assert_eq!(report["files"][5]["ok"], true);
    // A wrong digest is also reported for a file that does not open.
    assert!(faults(&report, 6)[1].starts_with("its digest is sha256:"));
}

#[test]
fn files_that_make_no_image() {
    let files = Files::new();
    let empty = files.layer("empty", &LayerWriter::new(0).write());
    let fault = |files: &[LayerFile]| {
        let (report, result) = check(files, true);
        assert_eq!(report["ok"], false);
        assert_eq!(report["image"]["ok"], false);
        (report, result.unwrap_err().to_string())
    };
    let (_, error) = fault(&[empty.clone(), empty.clone()]);
    assert!(error.starts_with("no layer says how large"), "{error}");
    let (report, error) = fault(&[]);
    assert_eq!(error, "an image has 1 to 255 layers, not 0");
    assert_eq!(report["image"]["fault"], error);
    let (report, error) = fault(&vec![empty.clone(); 256]);
    assert_eq!(error, "an image has 1 to 255 layers, not 256");
    assert_eq!(report["files"].as_array().unwrap().len(), 256);
    assert_eq!(report["files"][255]["ok"], true);
    let most = vec![files.layer("sized", &LayerWriter::new(512).write()); 255];
    check(&most, true).1.unwrap();
    let other = files.layer("other", &ZfileWriter::new().write(&[7; 10_000]));
    let (report, error) = fault(&[most[0].clone(), other.clone()]);
    assert!(
        error.contains(": it is no layer: LSMT header: wrong"),
        "{error}"
    );
    assert_eq!(report["files"][0]["ok"], true);
    assert_eq!(report["image"]["fault"], Value::Null);
    let (text, _) = text(&[other], true);
    assert!(text.ends_with("\nimage: not all of its layers open\n"));
    // Without `whole`, no files at all are an error too.
    assert_eq!(check(&[], false).1.unwrap_err().status(), Status::Refused);
}

#[test]
fn a_block_that_keeps_a_layer_from_opening_is_told_once() {
    let files = Files::new();
    let good = ZfileWriter::new().write(&layer());
    let last = u32::try_from(layer().len() / 4096 - 1).unwrap();
    for block in [0, last - 1, last] {
        let mut zfile = good.clone();
        let at = place(&zfile, block);
        zfile[at + 9] ^= 1;
        for whole in [false, true] {
            let (report, result) = check(&[files.layer("z", &zfile)], whole);
            result.unwrap_err();
            assert_eq!(faults(&report, 0).len(), 1);
            assert_eq!(report["files"][0]["faults"][0]["block"], block);
        }
    }
}

/// A file that was truncated after it was opened fails to read, like one on a bad disk.
#[test]
fn what_cannot_be_read_is_told_by_its_place() {
    let files = Files::new();
    let layer = layer();
    let zfile = ZfileWriter::new().write(&layer);
    for (bytes, left, count) in [(&layer, 1_400_000, 18), (&zfile, 1_450_000, 7)] {
        for digest in [false, true] {
            let mut file = files.layer("f", bytes);
            file.digest = digest.then(|| format!("sha256:{}", "0".repeat(64)));
            let subjects = [Subject::open(&file)];
            let lost = OpenOptions::new().write(true).open(&file.path).unwrap();
            lost.set_len(left).unwrap();
            Queue::new(&subjects).work(&ProgressBar::hidden());
            let report = subjects[0].report(false);
            let (unreadable, places): (Vec<_>, Vec<_>) = report
                .faults
                .iter()
                .partition(|fault| fault.offset.is_none());
            assert_eq!(unreadable.len(), usize::from(digest));
            assert_eq!(places.len(), count, "{}", bytes.len());
            for fault in places {
                assert!(fault.offset.unwrap() + fault.bytes.unwrap() > left);
                assert!(fault.what.starts_with("cannot read "), "{}", fault.what);
                assert!(fault.image_sectors.is_some());
            }
            for fault in unreadable {
                let start = "its digest cannot be computed: ";
                assert!(fault.what.starts_with(start), "{}", fault.what);
            }
        }
    }
}

/// Writes an image of the corpus to a file.
fn take(files: &Files, corpus: &Corpus, name: &str) -> LayerFile {
    let image = corpus.image(name);
    let mut bytes = vec![0; usize::try_from(image.len()).unwrap()];
    image.read_at(0, &mut bytes).unwrap();
    files.layer(&name.replace('/', "_"), &bytes)
}

fn agrees(corpus: &Corpus) {
    let manifest = &corpus.manifest;
    for row in &manifest.malformed {
        let files = Files::new();
        let file = take(&files, corpus, &row.file);
        let (report, result) = check(std::slice::from_ref(&file), false);
        let label = format!("{} ({}): {result:?}", row.file, row.what);
        assert_eq!(result.is_ok(), row.verdict == Wanted::Reads, "{label}");
        assert_eq!(report["ok"], row.verdict == Wanted::Reads, "{label}");
        let block = &report["files"][0]["faults"][0]["block"];
        let of_a_block = row.verdict == Wanted::BlockError;
        assert_eq!(!block.is_null(), of_a_block, "{label}");
        // `dump`, which reads no data, agrees except for damaged data.
        let mut out = Vec::new();
        let dump = crate::dump::run(&[file.path], true, true, &mut out);
        match (row.verdict, dump) {
            (Wanted::Reads, dump) => dump.unwrap(),
            (Wanted::Rejected, dump) => assert_eq!(dump, result, "{label}"),
            (Wanted::BlockError, _) => (),
        }
    }
    for row in &manifest.zfiles {
        let files = Files::new();
        let (report, result) = check(&[take(&files, corpus, &row.file)], false);
        if row.content_bytes == 0 {
            assert_eq!(faults(&report, 0), ["ZFile: content is empty"]);
            continue;
        }
        result.unwrap();
        let file = &report["files"][0];
        // One of them is a layer: the empty file system below all images.
        let layer = row.file.starts_with("legacy/");
        let kind = if layer { "layer" } else { "zfile" };
        assert_eq!(file["kind"], kind, "{}", row.file);
        assert_eq!(file["content_bytes"], row.content_bytes, "{}", row.file);
        assert_eq!(file["block_checksums"], row.verify, "{}", row.file);
    }
    for row in &manifest.layers {
        let files = Files::new();
        let (report, result) = check(&[take(&files, corpus, &row.file)], false);
        result.unwrap();
        let file = &report["files"][0];
        assert_eq!(file["kind"], "layer", "{}", row.file);
        assert_eq!(file["content_bytes"], row.content_bytes, "{}", row.file);
        assert_eq!(file["blocks"].is_null(), !row.zfile, "{}", row.file);
    }
    for row in &manifest.stacks {
        let files = Files::new();
        let layers: Vec<_> = row
            .layers
            .iter()
            .map(|name| take(&files, corpus, name))
            .collect();
        let (report, result) = check(&layers, true);
        result.unwrap();
        assert_eq!(report["image"]["virtual_size"], row.virtual_size);
        if let Some(segments) = row.merged_segments {
            assert_eq!(report["image"]["extents"], segments);
        }
    }
}

#[test]
fn the_committed_images_have_the_verdicts_of_their_manifest() {
    agrees(&Corpus::committed());
}

/// The larger corpus, if it is installed.
#[test]
fn the_reference_images_have_the_verdicts_of_their_manifest() {
    agrees(&Corpus::find());
}

#[test]
fn an_index_of_a_zfile_that_lies_is_found_by_its_blocks() {
    let files = Files::new();
    let mut zfile = ZfileWriter::new().write(&layer());
    // Swaps two lengths, so that the index is wrong but consistent.
    let end = zfile.len() - 512;
    let index = end - 4 * (layer().len() / 4096);
    zfile[index..index + 8].rotate_left(4);
    let crc = crate::zfile::crc32c(0, &zfile[index..end]);
    zfile[end + 64..end + 68].copy_from_slice(&crc.to_le_bytes());
    fix_digest(&mut zfile[end..]);
    let (report, _) = check(&[files.layer("z", &zfile)], false);
    assert_eq!(report["files"][0]["faults"][0]["block"], 0);
    assert_eq!(report["files"][0]["faults"][1]["block"], 1);
    assert_eq!(faults(&report, 0).len(), 2);
}
