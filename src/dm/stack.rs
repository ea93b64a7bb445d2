// SPDX-License-Identifier: GPL-2.0

//! Room on the stack for completions within completions.
//!
//! A target on a target ends its bio in the completion of the one below, so all levels of a stack
//! of devices run on one kernel stack. A completion [enters](Level::enter) a level before it
//! decompresses or ends a bio, and queues work instead when there is no room for one. This file
//! only measures; it neither queues work nor ends bios.

use super::bindings;
use kernel::prelude::*;

/// How many levels may stand on the stack of an interrupt. On x86-64 and arm64 such a stack has
/// 16 KiB or more; a level takes 272 bytes of it on x86-64, without what works on top. Other
/// drivers' completions share it.
const MAX_ON_INTERRUPT_STACK: c_int = 8;

/// A level on the stack that runs, left when this is dropped.
///
/// # Invariants
///
/// When `counted`, this level has been added to the count of the CPU it was entered on, and it is
/// dropped on that CPU: a stack of an interrupt does not move.
pub(super) struct Level {
    counted: bool,
}

impl Level {
    /// Enters a level, if there is room for one: on a task's stack while half of it is left, which
    /// no decoder needs, on another for [`MAX_ON_INTERRUPT_STACK`] levels.
    ///
    /// The function that enters a level drops it.
    pub(super) fn enter() -> Option<Self> {
        // SAFETY: This looks at the context it is called in.
        if unsafe { bindings::dm_overlaybd_on_task_stack() } {
            // SAFETY: As above.
            let room = unsafe { bindings::dm_overlaybd_half_of_stack_left() };
            return room.then_some(Self { counted: false });
        }
        // SAFETY: On the stack of an interrupt nothing moves to another CPU.
        // INVARIANT: The level has just been added.
        let (level, depth) = (Self { counted: true }, unsafe {
            bindings::dm_overlaybd_nesting_add(1)
        });
        (depth <= MAX_ON_INTERRUPT_STACK).then_some(level)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        if self.counted {
            // SAFETY: By the type invariant this is the CPU that the level was counted on.
            unsafe { bindings::dm_overlaybd_nesting_add(-1) };
        }
    }
}
