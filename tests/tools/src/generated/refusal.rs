// SPDX-License-Identifier: GPL-2.0

//! Tables that the kernel refuses, and what its log says about them.

use crate::{Context, Failure};
use overlaybd_image::generate::Refusal;
use rustix::{fs::OFlags, io::Errno};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long the kernel log may take to say why a table was refused.
const LOG_LIMIT: Duration = Duration::from_secs(5);

/// A table that the kernel refused.
pub struct Refused {
    /// The device that the table was for.
    pub node: PathBuf,
    /// What the request failed with.
    pub what: Failure,
}

/// Compares what became of a table with what must: returns the device, or [`None`] if the table was
/// refused as it must be, which `find` finds in the log.
///
/// # Errors
///
/// If the table was loaded and must be refused, the other way round, or refused for another reason.
pub fn settle(
    made: Result<PathBuf, Refused>,
    refusal: Option<&Refusal>,
    find: impl FnOnce(&Refused, &Refusal) -> Result<(), Failure>,
) -> Result<Option<PathBuf>, Failure> {
    match (made, refusal) {
        (Ok(_), Some(refusal)) => Err(format!("a table is not refused with: {}", refusal.message)),
        (Err(refused), Some(refusal)) => find(&refused, refusal).map(|()| None),
        (Err(refused), None) => Err(refused.what),
        (Ok(node), None) => Ok(Some(node)),
    }
}

/// The records of the kernel log that are newer than the last that was read.
pub struct Log(File);

impl Log {
    /// The log without the records that are there already.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open() -> Result<Self, Failure> {
        let path = "/dev/kmsg";
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .context(path)?;
        file.seek(SeekFrom::End(0)).context(path)?;
        Ok(Self(file))
    }

    /// Looks for a refusal in the new records.
    ///
    /// # Errors
    ///
    /// If there is none within [`LOG_LIMIT`].
    pub fn find(&mut self, refused: &Refused, refusal: &Refusal) -> Result<(), Failure> {
        let start = Instant::now();
        let mut last = String::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    let line = String::from_utf8_lossy(&record[..len]).into_owned();
                    match said(&line, &refused.node, refusal) {
                        Said::ThisRefusal => return Ok(()),
                        Said::Another => last = line,
                        Said::Nothing => {}
                    }
                }
                // While another CPU writes a record, later records cannot be read.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if start.elapsed() > LOG_LIMIT {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                // Records were overwritten before they were read.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => {}
                Err(error) => return Err(format!("/dev/kmsg: {error}")),
            }
        }
        Err(format!(
            "refused ({}), but the log does not say '{}' and errno {}; it says '{}'",
            refused.what,
            refusal.message,
            refusal.errno,
            last.trim()
        ))
    }
}

/// What a line of the kernel log says about a refused table.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// That it was refused for the right reason.
    ThisRefusal,
    /// Something else about the table of this device.
    Another,
    /// Nothing.
    Nothing,
}

/// What a line of the kernel log says about the table of the device at `node`.
fn said(line: &str, node: &Path, refusal: &Refusal) -> Said {
    let Refusal { message, errno, .. } = refusal;
    let name = match Errno::from_raw_os_error(*errno) {
        Errno::IO => "EIO",
        Errno::INVAL => "EINVAL",
        Errno::FBIG => "EFBIG",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        _ => "?",
    };
    // "device-mapper: table: 252:3: zfile_target: ZFile header: wrong magic (-EINVAL)"
    let minor = node.display().to_string();
    let minor = minor.trim_start_matches("/dev/dm-");
    let texts = [
        format!(": {message} (-{name})"),
        format!(": {message} (-{errno})"),
    ];
    if !line.contains("table: ") || !line.contains(&format!(":{minor}: ")) {
        Said::Nothing
    } else if texts.iter().any(|text| line.contains(text)) {
        Said::ThisRefusal
    } else {
        Said::Another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: Refusal = Refusal {
        zfile: Some(0),
        message: "ZFile header: wrong magic",
        errno: 22,
    };

    fn refused() -> Refused {
        Refused {
            node: "/dev/dm-3".into(),
            what: "load of z: Invalid argument".into(),
        }
    }

    #[test]
    fn a_table_is_loaded_or_refused_as_it_must_be() {
        let node = PathBuf::from("/dev/dm-3");
        let never = |_: &Refused, _: &Refusal| panic!("the log is not read");
        assert_eq!(
            settle(Ok(node.clone()), None, never),
            Ok(Some(node.clone()))
        );
        let what = settle(Ok(node), Some(&REFUSAL), never).unwrap_err();
        assert!(what.contains("not refused with: ZFile header"), "{what}");
        assert_eq!(
            settle(Err(refused()), None, never),
            Err("load of z: Invalid argument".into())
        );
        let found = |_: &Refused, _: &Refusal| Ok(());
        assert_eq!(settle(Err(refused()), Some(&REFUSAL), found), Ok(None));
        let not_found = |_: &Refused, _: &Refusal| Err("the log does not say so".into());
        assert!(settle(Err(refused()), Some(&REFUSAL), not_found).is_err());
    }

    #[test]
    fn the_log_must_name_the_device_the_check_and_the_error() {
        let node = Path::new("/dev/dm-3");
        let said = |line: &str| said(line, node, &REFUSAL);
        let line =
            "4,812,92,-;device-mapper: table: 252:3: zfile_target: ZFile header: wrong magic";
        for errno in ["(-EINVAL)", "(-22)"] {
            assert_eq!(said(&format!("{line} {errno}")), Said::ThisRefusal);
        }
        for errno in ["(-EIO)", "(-5)", "(-EOPNOTSUPP)", "(-2)", ""] {
            assert_eq!(said(&format!("{line} {errno}")), Said::Another);
        }
        let right = format!("{line} (-EINVAL)");
        assert_eq!(
            said(&right.replace("wrong magic", "wrong digest")),
            Said::Another
        );
        assert_eq!(said(&right.replace(":3:", ":13:")), Said::Nothing);
        assert_eq!(said(&right.replace(":3:", ":31:")), Said::Nothing);
        assert_eq!(said(&right.replace("table: ", "")), Said::Nothing);
        assert_eq!(said(""), Said::Nothing);
    }
}
