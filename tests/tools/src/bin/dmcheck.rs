// SPDX-License-Identifier: GPL-2.0

//! Does to device-mapper what cannot be done with dmsetup, or not often enough.
//!
//! Tables are given as one argument, lines separated by newlines. It never reads an image itself.

use overlaybd_tools::{
    args::{self, Args},
    device::Device,
    dm::{Answer, Dm, Line},
    Context, Failure,
};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

const USAGE: &str = "usage:
  dmcheck cycle NAME TABLE --count N --holds FILE [--threads N]
      makes devices NAME-0, NAME-1, ... one a thread, compares what each holds with the file and
      removes it, again and again
  dmcheck load NAME TABLE --count N
      makes a device, loads and drops the table again and again, and removes the device
  dmcheck starve NAME TABLE
      makes a device and loads the table with the first, the second, ... allocation failing, until
      it is loaded without any having failed (needs a kernel with fault injection)
  dmcheck reload NAME TABLE... --count N
      suspends the device, loads the next of the tables, resumes it, again and again
  dmcheck status NAME [--table]
      asks for the status in buffers of every size up to one that holds it; prints it";

fn main() {
    args::run(|| {
        let mut args = Args::parse(&["table", "help"], &["count", "threads", "holds"])?;
        if args.flag("help") {
            println!("{USAGE}");
            return Ok(());
        }
        let command = args.word("the command")?;
        let name = args.word("the name")?;
        let dm = Dm::open()?;
        match command.as_str() {
            "cycle" => cycle(&dm, &name, &mut args),
            "load" => load(&dm, &name, &mut args),
            "starve" => starve(&dm, &name, &mut args),
            "reload" => reload(&dm, &name, &mut args),
            "status" => status(&dm, &name, args.flag("table")),
            other => Err(format!("there is no command {other}\n{USAGE}")),
        }
    })
}

fn table(text: &str) -> Result<Vec<Line>, Failure> {
    text.lines().map(str::parse).collect()
}

fn count(args: &Args) -> Result<u64, Failure> {
    args.get("count")?
        .ok_or_else(|| "--count is missing".into())
}

fn cycle(dm: &Dm, name: &str, args: &mut Args) -> Result<(), Failure> {
    let table = table(&args.word("the table")?)?;
    let threads: u64 = args.get("threads")?.unwrap_or(1);
    let each = count(args)?.div_ceil(threads);
    let holds: PathBuf = args.get("holds")?.ok_or("--holds is missing")?;
    let content = fs::read(&holds).context(holds.display())?;
    let one = |name: &str| {
        let node = dm.create(name)?;
        let used = dm.load(name, &table).and_then(|()| {
            dm.resume(name)?;
            Device::open(&node, true)?.scan(0, content.len() as u64, |at, read| {
                compare(&content, at, read)
            })
        });
        let removed = dm.remove(name);
        used.and(removed)
    };
    std::thread::scope(|scope| {
        let run = |thread| {
            let name = format!("{name}-{thread}");
            scope.spawn(move || {
                (0..each).try_for_each(|n| one(&name).context(format_args!("cycle {n}")))
            })
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    })
}

/// Compares what was read from `at` on with what the device should hold.
fn compare(content: &[u8], at: u64, read: &[u8]) -> Result<(), Failure> {
    let wanted = usize::try_from(at)
        .ok()
        .and_then(|from| content.get(from..)?.get(..read.len()))
        .ok_or_else(|| format!("{} bytes at {at} are more than there should be", read.len()))?;
    match wanted
        .iter()
        .zip(read)
        .position(|(one, other)| one != other)
    {
        None => Ok(()),
        Some(n) => Err(format!(
            "byte {} is {:#04x}, should be {:#04x}",
            at + n as u64,
            read[n],
            wanted[n]
        )),
    }
}

fn load(dm: &Dm, name: &str, args: &mut Args) -> Result<(), Failure> {
    let table = table(&args.word("the table")?)?;
    let count = count(args)?;
    dm.create(name)?;
    let done = (0..count).try_for_each(|n| {
        dm.load(name, &table)
            .and_then(|()| dm.clear(name))
            .context(format_args!("load {n}"))
    });
    done.and(dm.remove(name))
}

fn starve(dm: &Dm, name: &str, args: &mut Args) -> Result<(), Failure> {
    let table = table(&args.word("the table")?)?;
    dm.create(name)?;
    let done = starve_loads(dm, name, &table);
    done.and(dm.remove(name))
}

fn starve_loads(dm: &Dm, name: &str, table: &[Line]) -> Result<(), Failure> {
    // The kernel counts down what is written here, and fails an allocation when it arrives at zero.
    const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
    // It is opened once: opening allocates, and would be what fails when a load does not need as
    // many allocations. Reading and writing it do not.
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

/// What became of a load one allocation of which was to fail.
#[derive(Debug, PartialEq, Eq)]
enum Starved {
    /// It failed, and the table was loaded all the same.
    Survived,
    /// It failed, and the table was refused.
    Refused,
    /// There were not as many, and the table was loaded.
    NotAtAll,
}

/// What became of a load, by its result and by what is `left` of the kernel's count: 0 if it came to
/// the allocation that was to fail.
fn starved(loaded: Result<(), Failure>, left: &[u8]) -> Result<Starved, Failure> {
    let failed = left.trim_ascii() == b"0";
    match loaded {
        Ok(()) if failed => Ok(Starved::Survived),
        Ok(()) => Ok(Starved::NotAtAll),
        Err(_) if failed => Ok(Starved::Refused),
        Err(failure) => Err(format!("with no allocation failing: {failure}")),
    }
}

fn reload(dm: &Dm, name: &str, args: &mut Args) -> Result<(), Failure> {
    let tables = args.rest();
    let tables: Vec<_> = tables
        .iter()
        .map(|text| table(text))
        .collect::<Result<_, _>>()?;
    for (n, table) in tables
        .iter()
        .cycle()
        .take(count(args)? as usize)
        .enumerate()
    {
        // Half of the time the table is loaded while reads go on, half of it while they wait.
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

/// Asks with buffers of every size up to one that holds the answer, which must be the same as in a
/// large one.
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

    #[test]
    fn reads_that_differ_are_found() {
        let content: Vec<u8> = (0..=255).cycle().take(1024).collect();
        assert_eq!(compare(&content, 0, &content), Ok(()));
        assert_eq!(compare(&content, 512, &content[512..]), Ok(()));
        let mut other = content[512..].to_vec();
        other[488] ^= 8;
        let what = compare(&content, 512, &other).unwrap_err();
        assert!(what.contains("byte 1000 is 0xe0, should be 0xe8"), "{what}");
        assert!(compare(&content, 512, &content).is_err());
        assert!(compare(&content, 2048, &content[..1]).is_err());
    }
}
