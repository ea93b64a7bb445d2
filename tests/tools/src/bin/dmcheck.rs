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
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

const USAGE: &str = "usage:
  dmcheck cycle NAME TABLE --count N [--threads N] [--read BYTES]
      makes devices NAME-0, NAME-1, ... one a thread, reads each and removes it, again and again
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
        let mut args = Args::parse(&["table", "help"], &["count", "threads", "read"])?;
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
    let bytes: u64 = args.get("read")?.unwrap_or(512);
    let one = |name: &str| {
        let node = dm.create(name)?;
        let used = dm.load(name, &table).and_then(|()| {
            dm.resume(name)?;
            if bytes > 0 {
                Device::open(&node, true)?.scan(0, bytes, |_, _| Ok(()))?;
            }
            Ok(())
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
        let failed = left.get(..n).is_some_and(|left| left.trim_ascii() == b"0");
        match loaded {
            Ok(()) if failed => survived += 1,
            Ok(()) => {
                dm.clear(name)?;
                break;
            }
            Err(_) if failed => refused += 1,
            Err(failure) => return Err(format!("with no allocation failing: {failure}")),
        }
        dm.clear(name)?;
    }
    println!("refused {refused} survived {survived}");
    match refused {
        0 => Err("no allocation failed".into()),
        _ => Ok(()),
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
    let Answer::Texts(want) = dm.status(name, table, 1 << 20)? else {
        return Err("the answer does not fit into a MiB".into());
    };
    let mut full = 0;
    for room in 8.. {
        match dm.status(name, table, room)? {
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
    for text in want {
        println!("{text}");
    }
    Ok(())
}
