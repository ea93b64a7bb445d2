// SPDX-License-Identifier: GPL-2.0

//! Room on the stack for completions within completions.
//!
//! A target on a target ends its bio in the completion of the target below, so all levels of a
//! stack of devices run on one kernel stack. A completion [enters](Level::enter) a level before it
//! decompresses or ends a bio, and queues work instead when there is no room for a level. This file
//! only measures: it neither queues work nor ends bios.

use crate::sys::context::{
    nesting_add,
    task_stack_left,
    TASK_STACK, //
};
use kernel::prelude::*;

/// The most levels on the stack of an interrupt.
///
/// On x86-64 and arm64 such a stack has 16 KiB or more, and the completions of other drivers share
/// it. A level takes 240 bytes on x86-64, without what
/// runs on top.
const MAX_ON_INTERRUPT_STACK: c_int = 8;

/// A level on the present stack, left on drop.
pub(super) struct Level {
    /// Whether the level is counted on this CPU: on the stack of an interrupt, which does not move
    /// to another CPU.
    counted: bool,
}

impl Level {
    /// Enters a level, if there is room for one: on a task's stack while over half of it is free,
    /// which no decoder needs, on the stack of an interrupt for [`MAX_ON_INTERRUPT_STACK`] levels.
    ///
    /// The function that enters a level must drop it.
    pub(super) fn enter() -> Option<Self> {
        if let Some(left) = task_stack_left() {
            return (left > TASK_STACK / 2).then_some(Self { counted: false });
        }
        let depth = nesting_add(1);
        let level = Self { counted: true };
        (depth <= MAX_ON_INTERRUPT_STACK).then_some(level)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        if self.counted {
            nesting_add(-1);
        }
    }
}
