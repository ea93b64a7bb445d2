// SPDX-License-Identifier: GPL-2.0

//! The tar archive around a layer, as registries store it: where its first file is.
//!
//! An archive starts with an ustar header. A pax header in front of the file's own may give the
//! file's size; the reference tools write only that record, and a size of 0 in the file's header.
//! The name of the file is not read, and neither is anything after the file.

use crate::error::{Error, Result};

/// The unit of an archive.
const BLOCK: u64 = 512;

/// The longest pax header that is read. Those of layers have a few bytes.
const MAX_PAX: u64 = 1 << 20;

/// The most headers up to the file's own.
const MAX_HEADERS: u32 = 16;

/// Where a file lies in an archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its first byte: a multiple of 512.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// Finds the first file of an archive of `len` bytes; [`None`] if it is no archive.
///
/// # Errors
///
/// A malformed or truncated archive; an error of `read`.
pub fn first_file(len: u64, read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<Option<Member>> {
    let mut pax_size = None;
    let mut at = 0u64;
    for _ in 0..MAX_HEADERS {
        if at.checked_add(BLOCK).is_none_or(|end| end > len) {
            break;
        }
        let mut block = [0; 512];
        read(at, &mut block)?;
        if !is_header(&block) {
            break;
        }
        at += BLOCK;
        let size = number(&block[124..136]).ok_or_else(|| {
            Error::refused(format!("tar: no size in the header at {}", at - BLOCK))
        })?;
        match block[156] {
            b'0' | 0 => {
                let len_of_file = pax_size.unwrap_or(size);
                let cut = || {
                    Error::refused(format!(
                        "tar: its file of {len_of_file} bytes at {at} is cut: the archive has \
                         {len} bytes"
                    ))
                };
                let end = at.checked_add(len_of_file).ok_or_else(cut)?;
                return if end > len {
                    Err(cut())
                } else {
                    Ok(Some(Member {
                        offset: at,
                        len: len_of_file,
                    }))
                };
            }
            kind @ (b'x' | b'g') => {
                // One known writer gives the pax header itself a size of 0.
                let size = if size == 0 { BLOCK } else { size };
                if size > MAX_PAX || at + size > len {
                    return Err(Error::refused(format!(
                        "tar: the pax header at {} of {size} bytes is too long",
                        at - BLOCK
                    )));
                }
                let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
                read(at, &mut text)?;
                if kind == b'x' {
                    pax_size = size_of_pax(&text).or(pax_size);
                }
                at += size.next_multiple_of(BLOCK);
            }
            kind => {
                return Err(Error::refused(format!(
                    "tar: it starts with an entry of type {:?}, not with the file of a layer",
                    char::from(kind)
                )));
            }
        }
    }
    if at == 0 {
        Ok(None)
    } else {
        Err(Error::refused("tar: no file in it"))
    }
}

/// Whether this is the header of an archive: magic, version, checksum. It accepts the versions of
/// POSIX and of GNU tar; the reference reader only knows the former.
fn is_header(block: &[u8; 512]) -> bool {
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    &block[257..262] == b"ustar"
        && matches!(&block[263..265], b"00" | b" \0")
        && number(&block[148..156]) == Some(sum - own + 8 * u64::from(b' '))
}

/// A number in a header: octal digits between spaces and NULs or, with the highest bit set, binary.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first() {
        if *first == 0x80 {
            let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
            let low = u64::from_be_bytes(low.try_into().ok()?);
            return high.iter().all(|byte| *byte == 0).then_some(low);
        }
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

/// The size in the records of a pax header, each "LENGTH KEY=VALUE\n"; [`None`] if they contain no
/// size, or 0.
fn size_of_pax(records: &[u8]) -> Option<u64> {
    let mut rest = records;
    let mut size = None;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let Some(len) = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|text| text.parse::<usize>().ok())
            .filter(|len| *len > space && *len <= rest.len())
        else {
            break;
        };
        let record = &rest[space + 1..len];
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim_end().parse().ok());
        }
        rest = &rest[len..];
    }
    size.filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlaybd_image::Wrapper;

    fn find(bytes: &[u8]) -> Result<Option<Member>> {
        first_file(bytes.len() as u64, |at, buf| {
            let at = usize::try_from(at).unwrap();
            buf.copy_from_slice(&bytes[at..at + buf.len()]);
            Ok(())
        })
    }

    #[test]
    fn both_forms_that_registries_have() {
        let plain = find(&Wrapper::Ustar.wrap(&[7; 1000])).unwrap();
        assert_eq!(
            plain,
            Some(Member {
                offset: 512,
                len: 1000
            })
        );
        let pax = find(&Wrapper::Pax.wrap(&[7; 1000])).unwrap();
        assert_eq!(
            pax,
            Some(Member {
                offset: 1536,
                len: 1000
            })
        );
    }

    #[test]
    fn the_version_of_gnu_tar() {
        let mut gnu = Wrapper::Ustar.wrap(&[7; 1000]);
        gnu[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = gnu[..512].iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = gnu[148..156].iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{:06o}\0 ", sum - own + 8 * 32);
        gnu[148..156].copy_from_slice(sum.as_bytes());
        assert_eq!(find(&gnu).unwrap().map(|member| member.len), Some(1000));
    }

    #[test]
    fn what_is_no_archive() {
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&[0; 511]), Ok(None));
        assert_eq!(find(&[0; 2048]), Ok(None));
        let mut wrong_sum = Wrapper::Ustar.wrap(&[7; 1000]);
        wrong_sum[0] ^= 1;
        assert_eq!(find(&wrong_sum), Ok(None));
    }

    #[test]
    fn an_archive_that_is_cut_is_refused() {
        let whole = Wrapper::Pax.wrap(&[7; 1000]);
        let error = find(&whole[..2000]).unwrap_err().to_string();
        assert!(error.contains("is cut"), "{error}");
        let error = find(&whole[..1024]).unwrap_err().to_string();
        assert!(error.contains("no file"), "{error}");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(b"  1750 \0"), Some(1000));
        assert_eq!(
            number(&[0x80, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]),
            Some(0x0200_0000_0000_0001)
        );
        assert_eq!(number(b"19"), None);
        assert_eq!(size_of_pax(b"11 mtime=1\n13 size=1234\n"), Some(1234));
        assert_eq!(size_of_pax(b"99 size=1234\n"), None);
    }
}
