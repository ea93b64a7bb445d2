// SPDX-License-Identifier: GPL-2.0

//! Creates and removes thousands of devices, and prints how long that took, as one line of JSON.
//!
//! It does what dmsetup does, without a process for each device. Only the requests to the kernel
//! are timed.

use clap::Parser;
use overlaybd_tools::{
    dm::{table, Dm},
    Context, Failure,
};
use std::{
    collections::HashMap,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Creates and removes thousands of devices, and prints how long that took
///
/// A line of the list is a name and a table, whose own lines are separated by semicolons. A word
/// @NAME in the table stands for the device of that name, which an earlier line creates. Prints
/// {"devices": ..., "ns": ...}, the time for each device, and more.
#[derive(Parser)]
enum Task {
    /// Creates the devices of a list, in order
    ///
    /// "first_ns" and "last_ns" are the mean times of the first tenth and of the last tenth.
    Create { list: PathBuf },
    /// Removes the devices of a list: those on others first, then the rest
    ///
    /// A removal waits most of its time. So that all end soon, many are under way at once. "ns" is
    /// the time from the first to the last, divided by the number of devices. "alone_ns" is the
    /// mean time of the first ones, one after the other.
    Remove {
        list: PathBuf,
        /// How many are removed one after the other, before the others
        #[arg(long, default_value_t = 1)]
        alone: usize,
        /// How many removals are under way at once
        #[arg(long, default_value_t = 64)]
        together: usize,
    },
}

fn main() {
    let task = Task::parse();
    overlaybd_tools::run(|| match task {
        Task::Create { list } => {
            let lines = lines(&list)?;
            create(&lines)
        }
        Task::Remove {
            list,
            alone,
            together,
        } => {
            let lines = lines(&list)?;
            remove(&lines, alone, together)
        }
    })
}

/// The names and tables of a list.
fn lines(list: &PathBuf) -> Result<Vec<(String, String)>, Failure> {
    let text = std::fs::read_to_string(list).context(list.display())?;
    text.lines()
        .map(|line| {
            let (name, table) = line
                .split_once(' ')
                .ok_or_else(|| format!("'{line}' has no table"))?;
            Ok((name.to_owned(), table.to_owned()))
        })
        .collect()
}

fn create(lines: &[(String, String)]) -> Result<(), Failure> {
    let dm = Dm::open()?;
    let mut nodes = HashMap::new();
    let mut times = Vec::with_capacity(lines.len());
    for (name, text) in lines {
        let words: Result<Vec<&str>, Failure> =
            text.split(' ')
                .map(|word| match word.strip_prefix('@') {
                    None => Ok(word),
                    Some(lower) => nodes.get(lower).map(String::as_str).ok_or_else(|| {
                        format!("{name} is on {lower}, which no line before creates")
                    }),
                })
                .collect();
        let table = table(&words?.join(" ").replace(';', "\n"))?;
        let start = Instant::now();
        let node = dm.create(name)?;
        dm.load(name, &table)?;
        dm.resume(name)?;
        times.push(start.elapsed());
        nodes.insert(name.as_str(), node.display().to_string());
    }
    let tenth = times.len().div_ceil(10);
    let mean =
        |times: &[Duration]| times.iter().sum::<Duration>().as_nanos() / times.len().max(1) as u128;
    println!(
        "{{\"devices\": {}, \"ns\": {}, \"first_ns\": {}, \"last_ns\": {}}}",
        times.len(),
        mean(&times),
        mean(&times[..tenth]),
        mean(&times[times.len() - tenth..]),
    );
    Ok(())
}

fn remove(lines: &[(String, String)], alone: usize, together: usize) -> Result<(), Failure> {
    let dm = Dm::open()?;
    let (upper, lower): (Vec<_>, Vec<_>) = lines.iter().partition(|(_, text)| text.contains('@'));
    let (first, upper) = upper.split_at(alone.min(upper.len()));
    let start = Instant::now();
    for (name, _) in first {
        dm.remove(name)?;
    }
    let alone_ns = start.elapsed().as_nanos() / first.len().max(1) as u128;
    let start = Instant::now();
    for names in [upper, &lower] {
        let part = names.len().div_ceil(together).max(1);
        thread::scope(|scope| {
            let threads: Vec<_> = names
                .chunks(part)
                .map(|part| scope.spawn(|| part.iter().try_for_each(|(name, _)| dm.remove(name))))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
    }
    let count = upper.len() + lower.len();
    let ns = start.elapsed().as_nanos() / count.max(1) as u128;
    println!("{{\"devices\": {count}, \"ns\": {ns}, \"alone_ns\": {alone_ns}}}");
    Ok(())
}
