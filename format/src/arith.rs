// SPDX-License-Identifier: GPL-2.0

//! Arithmetic that cannot overflow on any image, because the operands have been checked. Code that
//! may overflow uses the `checked_` methods, or `saturating_` ones where the largest number is the
//! correct result.
//!
//! Where debug assertions are on (tests, fuzzers, kernels with `CONFIG_RUST_DEBUG_ASSERTIONS`)
//! these functions panic on an overflow. Elsewhere they wrap, so a release module has no panic.
//! `clippy.toml` denies the `wrapping_` methods in the rest of the crate, because an overflow in
//! them is invisible to a fuzzer.

/// Declares a function that asserts that `$checked` has a result, and returns that of `$wrapping`.
macro_rules! exact {
    ($($name:ident($left:ty, $right:ty): $checked:ident, $wrapping:ident;)*) => {
        $(
            #[inline(always)]
            #[track_caller]
            #[allow(clippy::disallowed_methods, reason = "the assertion finds an overflow")]
            pub(crate) const fn $name(left: $left, right: $right) -> $left {
                debug_assert!(left.$checked(right).is_some(), "arithmetic overflow");
                left.$wrapping(right)
            }
        )*
    };
}

exact! {
    add_u32(u32, u32): checked_add, wrapping_add;
    add_u64(u64, u64): checked_add, wrapping_add;
    add_usize(usize, usize): checked_add, wrapping_add;
    sub_u32(u32, u32): checked_sub, wrapping_sub;
    sub_u64(u64, u64): checked_sub, wrapping_sub;
    sub_usize(usize, usize): checked_sub, wrapping_sub;
    mul_u64(u64, u64): checked_mul, wrapping_mul;
    mul_usize(usize, usize): checked_mul, wrapping_mul;
    shl_u32(u32, u32): checked_shl, wrapping_shl;
    shl_u64(u64, u32): checked_shl, wrapping_shl;
    shr_u64(u64, u32): checked_shr, wrapping_shr;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_results() {
        assert_eq!(add_u64(u64::MAX - 1, 1), u64::MAX);
        assert_eq!(sub_usize(7, 7), 0);
        assert_eq!(mul_u64(1 << 32, (1 << 32) - 1), ((1 << 32) - 1) << 32);
        assert_eq!(shl_u64(1, 63), 1 << 63);
        assert_eq!(shr_u64(u64::MAX, 63), 1);
    }

    #[test]
    #[should_panic(expected = "arithmetic overflow")]
    fn a_sum_that_overflows_is_found() {
        add_u64(u64::MAX, 1);
    }

    #[test]
    #[should_panic(expected = "arithmetic overflow")]
    fn a_difference_below_zero_is_found() {
        sub_u32(1, 2);
    }

    #[test]
    #[should_panic(expected = "arithmetic overflow")]
    fn a_shift_by_all_bits_is_found() {
        shr_u64(1, 64);
    }
}
