// SPDX-License-Identifier: GPL-2.0

//! Conversions between integer widths, in one place: everywhere else `as` is denied. Only the
//! functions named `low_` drop bits.

const _: () = assert!(usize::BITS >= 32 && usize::BITS <= 64);

/// A `u32` as `usize`: never narrower, by the assertion above.
#[expect(clippy::as_conversions, reason = "usize has at least 32 bits")]
pub(crate) const fn usize_from(value: u32) -> usize {
    value as usize
}

/// A `usize` as `u64`: never wider, by the assertion above.
#[expect(clippy::as_conversions, reason = "usize has at most 64 bits")]
pub(crate) const fn u64_from(value: usize) -> u64 {
    value as u64
}

/// A `u32` as `u64`, where `From` cannot be called: in a `const fn`.
#[expect(clippy::as_conversions, reason = "u64 is wider")]
pub(crate) const fn u64_from_u32(value: u32) -> u64 {
    value as u64
}

/// The low 32 bits of `value`.
#[expect(clippy::as_conversions, reason = "the name says which bits are kept")]
pub(crate) const fn low_u32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The low 16 bits of `value`.
#[expect(clippy::as_conversions, reason = "the name says which bits are kept")]
pub(crate) const fn low_u16(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// The low 8 bits of `value`.
#[expect(clippy::as_conversions, reason = "the name says which bits are kept")]
pub(crate) const fn low_u8(value: u64) -> u8 {
    (value & 0xff) as u8
}

/// A `u8` as `u64`, where `From` cannot be called: in a `const fn`.
#[expect(clippy::as_conversions, reason = "u64 is wider")]
pub(crate) const fn u64_from_u8(value: u8) -> u64 {
    value as u64
}
