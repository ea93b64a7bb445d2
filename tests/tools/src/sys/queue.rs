// SPDX-License-Identifier: GPL-2.0

//! Several reads under way at once, by `io_uring`, and a read into memory that another thread
//! writes.

use super::Buffer;
use io_uring::{cqueue::Entry as Completion, opcode, types::Fd, IoUring};
use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
};

/// How to read.
#[derive(Clone, Copy)]
pub struct Reads {
    /// The length of each read in bytes.
    pub bytes: u32,
    /// How many are under way at once.
    pub depth: u32,
    /// Whether the kernel looks for their ends instead of waiting for an interrupt
    /// (`IORING_SETUP_IOPOLL`).
    pub polled: bool,
}

/// A ring, and the number of its reads that the kernel has not ended.
struct Ring {
    ring: IoUring,
    under_way: u32,
}

impl Ring {
    /// Waits for at least one read, and passes all that have ended to `take`.
    fn wait(&mut self, mut take: impl FnMut(&Completion)) -> io::Result<()> {
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        for completion in self.ring.completion() {
            self.under_way -= 1;
            take(&completion);
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.under_way > 0 {
            if self.wait(|_| ()).is_err() {
                // The kernel may still write to memory that the caller is about to free.
                std::process::abort();
            }
        }
    }
}

/// Reads from each place that `next` returns until it returns none, and passes each place and what
/// was read from there to `take`. Returns the number of reads. The reads end in any order.
///
/// # Errors
///
/// What the kernel or `take` reports, or if a read is short.
///
/// # Panics
///
/// If the buffer does not hold the reads that are under way at once.
pub fn read_at_once(
    file: &File,
    buffer: &mut Buffer,
    how: Reads,
    mut next: impl FnMut() -> Option<u64>,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let Reads { bytes, depth, .. } = how;
    assert!(bytes as usize * depth as usize <= buffer.len());
    // One thread submits and reaps. The kernel then need not interrupt it when a read ends.
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    if how.polled {
        builder.setup_iopoll();
    }
    let mut ring = Ring {
        ring: builder.build(depth)?,
        under_way: 0,
    };
    let memory = buffer.as_mut_ptr();
    let mut free: Vec<u32> = (0..depth).collect();
    let mut places = vec![0; depth as usize];
    let mut reads = 0;
    loop {
        while let Some(&slot) = free.last() {
            let Some(at) = next() else { break };
            free.pop();
            places[slot as usize] = at;
            // SAFETY: The buffer has a part for each of `depth` slots, checked above.
            let part = unsafe { memory.add(slot as usize * bytes as usize) };
            let read = opcode::Read::new(Fd(file.as_raw_fd()), part, bytes)
                .offset(at)
                .build()
                .user_data(slot.into());
            // SAFETY: No other read uses the slot. The file and the buffer are borrowed until
            // this function returns, and the ring, which is dropped before, waits for the read.
            let pushed = unsafe { ring.ring.submission().push(&read) };
            pushed.expect("the ring has a place for each slot");
            ring.under_way += 1;
        }
        if ring.under_way == 0 {
            return Ok(reads);
        }
        let mut failed = None;
        ring.wait(|completion| {
            let slot = completion.user_data() as usize;
            match completion.result() {
                n if n as u32 == bytes => {
                    reads += 1;
                    let bytes = bytes as usize;
                    // SAFETY: The part of the slot is in the buffer, and its read has ended.
                    let read =
                        unsafe { std::slice::from_raw_parts(memory.add(slot * bytes), bytes) };
                    if let Err(error) = take(places[slot], read) {
                        failed = Some(error);
                    }
                }
                n if n < 0 => failed = Some(io::Error::from_raw_os_error(-n)),
                n => failed = Some(io::Error::other(format!("a read gave {n} bytes"))),
            }
            free.push(slot as u32);
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// Reads `bytes` bytes from `at` on into the beginning of a buffer, while another thread writes to
/// that memory, as a faulty program may. Returns the number of bytes read; what the memory holds
/// then is chance.
///
/// # Errors
///
/// What the kernel reports.
///
/// # Panics
///
/// If the buffer does not hold the read.
pub fn read_while_written(
    file: &File,
    buffer: &mut Buffer,
    bytes: u32,
    at: u64,
) -> io::Result<usize> {
    assert!(bytes as usize <= buffer.len());
    let mut ring = Ring {
        ring: IoUring::new(1)?,
        under_way: 0,
    };
    let memory = buffer.as_mut_ptr();
    // SAFETY: The memory is in the buffer, which is borrowed. Nothing else in this process uses it
    // until this function returns.
    let written = unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU8>(), bytes as usize) };
    let read = opcode::Read::new(Fd(file.as_raw_fd()), memory, bytes)
        .offset(at)
        .build();
    // SAFETY: The file and the buffer are borrowed until this function returns, and the ring, which
    // is dropped before, waits for the read.
    let pushed = unsafe { ring.ring.submission().push(&read) };
    pushed.expect("the ring has a place");
    ring.under_way += 1;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut noise = 0u8;
            while !over.load(Ordering::Relaxed) {
                for byte in written {
                    noise = noise.wrapping_mul(5).wrapping_add(17);
                    byte.store(noise, Ordering::Relaxed);
                }
            }
        });
        let mut result = 0;
        let waited = ring.wait(|completion| result = completion.result());
        over.store(true, Ordering::Relaxed);
        waited?;
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    })
}

#[cfg(test)]
mod tests {
    use super::{read_at_once, read_while_written, Reads};
    use crate::sys::Buffer;
    use std::{fs::File, io::Write};

    #[test]
    fn reads_each_place_once_and_reports_a_short_read() {
        let path = std::env::temp_dir().join(format!("overlaybd-queue-{}", std::process::id()));
        let content: Vec<u8> = (0..8u8).flat_map(|n| [n + 1; 512]).collect();
        File::create(&path)
            .and_then(|mut file| file.write_all(&content))
            .expect("a file");
        let file = File::open(&path).expect("the file");
        std::fs::remove_file(&path).expect("its name");
        let mut buffer = Buffer::new(4 * 512, false);
        let mut places = (0..8).map(|n| n * 512);
        let how = Reads {
            bytes: 512,
            depth: 4,
            polled: false,
        };
        let mut taken = Vec::new();
        let done = read_at_once(
            &file,
            &mut buffer,
            how,
            || places.next(),
            |at, read| {
                assert_eq!(read, &content[at as usize..][..512]);
                taken.push(at);
                Ok(())
            },
        );
        if matches!(&done, Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied) {
            eprintln!("not tested: this machine allows no io_uring");
            return;
        }
        assert_eq!(done.expect("eight reads"), 8);
        taken.sort_unstable();
        assert!(taken.into_iter().eq((0..8).map(|n| n * 512)));
        let ignore = |_, _: &[u8]| Ok(());
        let mut beyond = [7 * 512 + 256].into_iter();
        assert!(read_at_once(&file, &mut buffer, how, || beyond.next(), ignore).is_err());
        let mut first = [0].into_iter();
        let refuse = |_, _: &[u8]| Err(std::io::Error::other("wrong"));
        assert!(read_at_once(&file, &mut buffer, how, || first.next(), refuse).is_err());
        assert_eq!(
            read_while_written(&file, &mut buffer, 1024, 0).ok(),
            Some(1024)
        );
        assert!(buffer[1024..].iter().all(|byte| *byte < 9));
        assert_eq!(
            read_while_written(&file, &mut buffer, 1024, 7 * 512).ok(),
            Some(512)
        );
    }
}
