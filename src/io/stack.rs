// SPDX-License-Identifier: GPL-2.0

//! Room on the stack for completions within completions.
//!
//! A target on a target ends its bio in the completion of the target below, so all levels of a
//! stack of devices run on one kernel stack. A completion that runs in a task asks for room before
//! it decompresses or ends a bio, and queues work instead when there is none. This file only
//! measures: it neither queues work nor ends bios.

use crate::sys::context::{
    task_stack_left,
    TASK_STACK, //
};

/// Whether there is room for a completion: over half of a task's stack is free, which no decoder
/// needs. A level of nested completions takes 240 bytes on x86-64, without what runs on top. There
/// is no room on the stack of an interrupt, which the completions of other drivers share.
pub(super) fn has_room() -> bool {
    task_stack_left().is_some_and(|left| left > TASK_STACK / 2)
}
