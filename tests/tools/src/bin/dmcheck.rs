// SPDX-License-Identifier: GPL-2.0

//! Does to device-mapper what dmsetup cannot do, or not often enough.
//!
//! A table is one argument, its lines separated by newlines. The program never reads an image
//! itself.

use clap::Parser;
use overlaybd_tools::{
    chaos::Chaos,
    content::compare,
    device::Device,
    dm::{table, Answer, Dm, Line},
    in_threads, Context, Failure,
};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Does to device-mapper what dmsetup cannot do, or not often enough.
#[derive(Parser)]
enum Command {
    /// Creates devices NAME-0, NAME-1, ..., one a thread, compares what each holds with a file and
    /// removes it, again and again
    Cycle {
        name: String,
        table: String,
        /// How many devices in all
        #[arg(long)]
        count: u64,
        /// The file with what each device should hold
        #[arg(long)]
        holds: PathBuf,
        #[arg(long, default_value_t = 1)]
        threads: u64,
    },
    /// Creates a device and loads its table with the first, the second, ... allocation failing,
    /// until it is loaded and none has failed
    ///
    /// This takes a kernel with fault injection.
    Starve { name: String, table: String },
    /// Suspends a device, loads the next of the tables and resumes the device, again and again
    Reload {
        name: String,
        #[arg(required = true)]
        tables: Vec<String>,
        /// How often
        #[arg(long)]
        count: usize,
    },
    /// Sends requests of all kinds in random order, while threads read
    ///
    /// All tables but the bad ones must have the same content.
    Chaos {
        name: String,
        #[arg(required = true)]
        tables: Vec<String>,
        /// A table that is refused
        #[arg(long)]
        bad: Vec<String>,
        /// The file with what each device should hold
        #[arg(long)]
        holds: PathBuf,
        #[arg(long)]
        seconds: u64,
        /// Chooses the requests, instead of chance
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Prints the status, which must be the same from buffers of every size up to one that holds it
    Status {
        name: String,
        /// The table instead
        #[arg(long)]
        table: bool,
    },
}

fn main() {
    let command = Command::parse();
    overlaybd_tools::run(|| {
        let dm = Dm::open()?;
        match command {
            Command::Cycle {
                name,
                table: text,
                count,
                holds,
                threads,
            } => cycle(&dm, &name, &table(&text)?, count, &holds, threads),
            Command::Starve { name, table: text } => starve(&dm, &name, &table(&text)?),
            Command::Reload {
                name,
                tables,
                count,
            } => {
                let tables: Result<Vec<_>, _> = tables.iter().map(|text| table(text)).collect();
                reload(&dm, &name, &tables?, count)
            }
            Command::Chaos {
                name,
                tables,
                bad,
                holds,
                seconds,
                seed,
            } => {
                let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
                let parse = |texts: &[String]| -> Result<Vec<Vec<Line>>, Failure> {
                    texts.iter().map(|text| table(text)).collect()
                };
                Chaos {
                    name,
                    good: parse(&tables)?,
                    bad: parse(&bad)?,
                    content: fs::read(&holds).context(holds.display())?,
                    time: Duration::from_secs(seconds),
                    seed,
                }
                .run(&dm)
                .context(format_args!("seed {seed}"))?
                .print(seed)
            }
            Command::Status { name, table } => status(&dm, &name, table),
        }
    })
}

fn cycle(
    dm: &Dm,
    name: &str,
    table: &[Line],
    count: u64,
    holds: &Path,
    threads: u64,
) -> Result<(), Failure> {
    let each = count.div_ceil(threads.max(1));
    let content = fs::read(holds).context(holds.display())?;
    let one = |name: &str| {
        let node = dm.create(name)?;
        let used = dm.load(name, table).and_then(|()| {
            dm.resume(name)?;
            Device::open(&node, true)?.scan(0, content.len() as u64, |at, read| {
                compare(&content, at, read)
            })
        });
        let removed = dm.remove(name);
        used.and(removed)
    };
    in_threads(0..threads, |thread| {
        let name = format!("{name}-{thread}");
        (0..each).try_for_each(|n| one(&name).context(format_args!("cycle {n}")))
    })
    .into_iter()
    .collect()
}

fn starve(dm: &Dm, name: &str, table: &[Line]) -> Result<(), Failure> {
    dm.create(name)?;
    let done = starve_loads(dm, name, table);
    done.and(dm.remove(name))
}

fn starve_loads(dm: &Dm, name: &str, table: &[Line]) -> Result<(), Failure> {
    // The kernel counts the number in this file down, and fails the allocation at which it is zero.
    const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
    // It is opened once: opening allocates, and would fail where a load has fewer allocations than
    // the number. Reading and writing it do not allocate.
    let fail_nth = OpenOptions::new()
        .read(true)
        .write(true)
        .open(FAIL_NTH)
        .context(FAIL_NTH)?;
    let (mut refused, mut survived) = (0, 0);
    for nth in 1.. {
        fail_nth
            .write_all_at(nth.to_string().as_bytes(), 0)
            .context(FAIL_NTH)?;
        let loaded = dm.load(name, table);
        let mut left = [0; 16];
        let n = fail_nth.read_at(&mut left, 0).context(FAIL_NTH)?;
        fail_nth.write_all_at(b"0", 0).context(FAIL_NTH)?;
        match starved(loaded, left.get(..n).unwrap_or_default())? {
            Starved::Survived => survived += 1,
            Starved::Refused => refused += 1,
            Starved::NotAtAll => {
                dm.clear(name)?;
                break;
            }
        }
        dm.clear(name)?;
    }
    println!("refused {refused} survived {survived}");
    match refused {
        0 => Err("no allocation failed".into()),
        _ => Ok(()),
    }
}

/// How a load ended of which one allocation should fail.
#[derive(Debug, PartialEq, Eq)]
enum Starved {
    /// The allocation failed, and the table was loaded all the same.
    Survived,
    /// The allocation failed, and the table was refused.
    Refused,
    /// The load had fewer allocations, and the table was loaded.
    NotAtAll,
}

/// How a load ended, by its result and by what is `left` of the kernel's count: 0 if an allocation
/// failed.
fn starved(loaded: Result<(), Failure>, left: &[u8]) -> Result<Starved, Failure> {
    let failed = left.trim_ascii() == b"0";
    match loaded {
        Ok(()) if failed => Ok(Starved::Survived),
        Ok(()) => Ok(Starved::NotAtAll),
        Err(_) if failed => Ok(Starved::Refused),
        Err(failure) => Err(format!("with no allocation failing: {failure}")),
    }
}

fn reload(dm: &Dm, name: &str, tables: &[Vec<Line>], count: usize) -> Result<(), Failure> {
    for (n, table) in tables.iter().cycle().take(count).enumerate() {
        // Every other table is loaded while reads go on, the others while the device is suspended.
        if n % 2 == 0 {
            dm.load(name, table)?;
        }
        dm.suspend(name, n % 4 < 2)?;
        let loaded = if n % 2 == 0 {
            Ok(())
        } else {
            dm.load(name, table)
        };
        dm.resume(name)?;
        loaded?;
    }
    Ok(())
}

fn status(dm: &Dm, name: &str, table: bool) -> Result<(), Failure> {
    for text in in_every_size(|room| dm.status(name, table, room))? {
        println!("{text}");
    }
    Ok(())
}

/// Asks with buffers of every size up to one that holds the answer. It must be the same as that in
/// a large buffer.
fn in_every_size(ask: impl Fn(usize) -> Result<Answer, Failure>) -> Result<Vec<String>, Failure> {
    let Answer::Texts(want) = ask(1 << 20)? else {
        return Err("the answer does not fit into a MiB".into());
    };
    let mut full = 0;
    for room in 8..=1 << 20 {
        match ask(room)? {
            Answer::Full => full += 1,
            Answer::Texts(texts) if texts != want => {
                return Err(format!(
                    "in {room} bytes the answer is {texts:?}, not {want:?}"
                ))
            }
            Answer::Texts(_) => break,
        }
    }
    if full == 0 {
        return Err("no buffer was too small".into());
    }
    Ok(want)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_allocation_that_fails_leads_to() {
        let refused = || Err("Cannot allocate memory".to_string());
        for left in ["0", "0\n"] {
            let left = left.as_bytes();
            assert_eq!(starved(Ok(()), left), Ok(Starved::Survived));
            assert_eq!(starved(refused(), left), Ok(Starved::Refused));
        }
        for left in ["1\n", "10\n", "", "00\n"] {
            let left = left.as_bytes();
            assert_eq!(starved(Ok(()), left), Ok(Starved::NotAtAll));
            let what = starved(refused(), left).unwrap_err();
            assert!(what.contains("with no allocation failing"), "{what}");
        }
    }

    fn texts(texts: &[&str]) -> Answer {
        Answer::Texts(texts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_answer_is_the_same_in_every_buffer_that_holds_it() {
        let ask = |room| match room {
            ..100 => Ok(Answer::Full),
            _ => Ok(texts(&["one", "two"])),
        };
        assert_eq!(in_every_size(ask), Ok(vec!["one".into(), "two".into()]));
    }

    #[test]
    fn an_answer_that_is_cut_or_another_one_is_found() {
        let cut = |room| match room {
            ..100 => Ok(Answer::Full),
            100 => Ok(texts(&["one", "tw"])),
            _ => Ok(texts(&["one", "two"])),
        };
        let what = in_every_size(cut).unwrap_err();
        assert!(what.contains("in 100 bytes"), "{what}");
        let fewer = |room| match room {
            ..100 => Ok(texts(&["one"])),
            _ => Ok(texts(&["one", "two"])),
        };
        assert!(in_every_size(fewer).is_err());
    }

    #[test]
    fn buffers_that_are_never_or_always_too_small_are_found() {
        let what = in_every_size(|_| Ok(texts(&["one"]))).unwrap_err();
        assert!(what.contains("no buffer was too small"), "{what}");
        let what = in_every_size(|_| Ok(Answer::Full)).unwrap_err();
        assert!(what.contains("does not fit"), "{what}");
        assert!(in_every_size(|_| Err("an ioctl".into())).is_err());
    }
}
