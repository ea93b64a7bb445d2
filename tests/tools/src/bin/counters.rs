// SPDX-License-Identifier: GPL-2.0

//! Prints the counters of a loaded module that was compiled with `-Cinstrument-coverage`: the bytes
//! of its section `__llvm_prf_cnts`, as they are in the kernel's memory.
//!
//! The module has no code for this. Its file says how long the section is, sysfs where it lies, and
//! `/proc/kcore` shows what it holds.

use clap::Parser;
use object::{
    read::{elf::ElfFile64, ReadCache},
    Object, ObjectSection, ObjectSegment,
};
use overlaybd_tools::{Context, Failure};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt,
    path::PathBuf,
};

const SECTION: &str = "__llvm_prf_cnts";
const SECTIONS: &str = "/sys/module/dm_overlaybd/sections";
const MEMORY: &str = "/proc/kcore";

/// Prints the counters of the loaded module
#[derive(Parser)]
struct Counters {
    /// The file of the module
    module: PathBuf,
}

fn main() {
    let args = Counters::parse();
    overlaybd_tools::run(|| {
        let file = fs::read(&args.module).context(args.module.display())?;
        let module = ElfFile64::<object::Endianness, _>::parse(&*file).context("the module")?;
        let section = module
            .section_by_name(SECTION)
            .ok_or_else(|| format!("the module has no {SECTION}"))?;
        let path = format!("{SECTIONS}/{SECTION}");
        let text = fs::read_to_string(&path).context(&path)?;
        let address = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16);
        let bytes = memory(address.context(path)?, section.size())?;
        std::io::stdout().write_all(&bytes).context("output")
    })
}

/// What the kernel's memory holds.
fn memory(address: u64, len: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(MEMORY).context(MEMORY)?;
    let cache = ReadCache::new(&file);
    let elf = ElfFile64::<object::Endianness, _>::parse(&cache).context(MEMORY)?;
    for segment in elf.segments() {
        let Some(from) = address.checked_sub(segment.address()) else {
            continue;
        };
        if from + len <= segment.size() {
            let mut bytes = vec![0; len as usize];
            let at = segment.file_range().0 + from;
            file.read_exact_at(&mut bytes, at).context(MEMORY)?;
            return Ok(bytes);
        }
    }
    Err(format!("{MEMORY} has nothing at {address:#x}"))
}
