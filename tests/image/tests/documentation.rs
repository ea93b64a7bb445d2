// SPDX-License-Identifier: GPL-2.0

//! The page about the targets names every check of the format.

use std::fs;
use std::path::Path;

/// Checks that the kernel cannot fail: it brings the memory and all of the index.
const INTERNAL: [&str; 6] = [
    "ZFile index: incomplete",
    "ZFile index: more bytes than entries",
    "ZFile index: too little memory for the jump table",
    "LSMT index: incomplete",
    "LSMT index: more bytes than entries",
    "LSMT index: too little memory",
];

#[test]
fn every_refusal_is_documented() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(top.join(path)).unwrap();
    let page = read("Documentation/admin-guide/device-mapper/dm-overlaybd.rst");
    let mut found = 0;
    for errors in ["format/src/zfile/error.rs", "format/src/lsmt/error.rs"] {
        let source = read(errors);
        for message in source.split("=> c\"").skip(1) {
            let message = message.split('"').next().unwrap();
            let documented = page.lines().any(|line| {
                line.strip_prefix(message)
                    .is_some_and(|rest| rest.starts_with("  "))
            });
            assert_ne!(documented, INTERNAL.contains(&message), "{message}");
            found += 1;
        }
    }
    assert!(found > 30, "{found} messages found");
}
