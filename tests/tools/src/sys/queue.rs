// SPDX-License-Identifier: GPL-2.0

//! Several reads under way at once, by `io_uring`.

use super::Buffer;
use io_uring::{cqueue::Entry as Completion, opcode, types::Fd, IoUring};
use std::{fs::File, io, os::fd::AsRawFd};

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

/// Reads `bytes` bytes from each place that `next` returns, `depth` of them at once, until it
/// returns none. Returns the number of reads. The reads end in any order.
///
/// # Errors
///
/// What the kernel reports, or if a read is short.
///
/// # Panics
///
/// If the buffer does not hold `depth` reads.
pub fn read_at_once(
    file: &File,
    buffer: &mut Buffer,
    bytes: u32,
    depth: u32,
    mut next: impl FnMut() -> Option<u64>,
) -> io::Result<u64> {
    assert!(bytes as usize * depth as usize <= buffer.len());
    // One thread submits and reaps. The kernel then need not interrupt it when a read ends.
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(depth)?;
    let mut ring = Ring { ring, under_way: 0 };
    let memory = buffer.as_mut_ptr();
    let mut free: Vec<u32> = (0..depth).collect();
    let mut reads = 0;
    loop {
        while let Some(&slot) = free.last() {
            let Some(at) = next() else { break };
            free.pop();
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
            match completion.result() {
                n if n as u32 == bytes => reads += 1,
                n if n < 0 => failed = Some(io::Error::from_raw_os_error(-n)),
                n => failed = Some(io::Error::other(format!("a read gave {n} bytes"))),
            }
            free.push(completion.user_data() as u32);
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_at_once;
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
        let done = read_at_once(&file, &mut buffer, 512, 4, || places.next());
        if matches!(&done, Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied) {
            eprintln!("not tested: this machine allows no io_uring");
            return;
        }
        assert_eq!(done.expect("eight reads"), 8);
        // Each slot holds one of the places, and no two hold the same.
        let mut found: Vec<u8> = (0..4).map(|slot| buffer[slot * 512]).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 4);
        assert!(!found.contains(&0));
        let mut beyond = [7 * 512 + 256].into_iter();
        assert!(read_at_once(&file, &mut buffer, 512, 4, || beyond.next()).is_err());
    }
}
