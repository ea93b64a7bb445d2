// SPDX-License-Identifier: GPL-2.0

//! What a target type implements.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::{
    args::Args,
    bio::{
        Bio,
        MapResult, //
    },
    constructor::Setup,
    status::{
        StatusKind,
        StatusText, //
    },
    visitor::DeviceVisitor,
};
use crate::{
    bindings,
    block::limits::QueueLimits, //
};
use core::{
    fmt,
    ops::ControlFlow, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// What a target type declares about itself.
#[derive(Clone, Copy)]
pub(crate) struct Features(u64);

impl Features {
    /// `DM_TARGET_NOWAIT`: `map` never waits with a bio whose sender does not
    /// ([`Bio::is_nowait`]), not even for memory.
    pub(crate) const NOWAIT: Self = Self(bindings::DM_OVERLAYBD_DM_TARGET_NOWAIT);

    /// The flags.
    pub(super) fn as_raw(self) -> u64 {
        self.0
    }
}

/// State that a target needs for each bio beyond `map`. `()` is for targets that need none.
pub(crate) trait PerBio {
    /// What all targets of the type share to work on such bios.
    type Shared: Send + Sync;
    /// Size of the state in bytes.
    const SIZE: usize;

    /// Makes what is shared, when the type is registered.
    fn new_shared() -> Result<Self::Shared>;
}

impl PerBio for () {
    type Shared = ();
    const SIZE: usize = 0;

    fn new_shared() -> Result {
        Ok(())
    }
}

/// Why a constructor refuses a table line.
///
/// Its [`Display`](fmt::Display) form is the line for the kernel log, with the offending value.
pub(crate) trait Refuse: fmt::Display + From<AllocError> {
    /// The text for `ti->error`.
    fn message(&self) -> &'static CStr;
    /// What `ctr` returns.
    fn errno(&self) -> Error;
}

/// A device-mapper target. A value is one line of a table.
///
/// Device-mapper calls `map` on all CPUs at once, hence `&self` and `Sync`.
#[vtable]
pub(crate) trait Target: Sized + Send + Sync + 'static {
    /// The name that tables use.
    const NAME: &'static CStr;
    /// Major, minor and patch level of the table's form and meaning.
    const VERSION: [c_uint; 3];
    /// What the type declares about itself.
    const FEATURES: Features;
    /// State that a bio needs beyond `map`: `()`, or [`Pending`](crate::io::pending::Pending).
    type Io: PerBio;
    /// What all targets of the type share; made when the type is registered.
    type Context: Send + Sync;
    /// Why the constructor refuses a line whose words live for `'a`.
    type Refusal<'a>: Refuse;

    /// Constructs a target from a table line. May sleep.
    fn ctr<'a>(
        context: &Self::Context,
        setup: &mut Setup<'_>,
        args: Args<'a>,
    ) -> Result<Self, Self::Refusal<'a>>;

    /// Maps a bio. Must not wait for I/O.
    fn map(&self, bio: Bio<'_, Self>) -> MapResult;

    /// Describes the target. A text that does not fit is cut.
    fn status(&self, _kind: StatusKind, _text: &mut StatusText<'_>) -> fmt::Result {
        Err(fmt::Error)
    }

    /// Shows `visitor` each part of a lower device that the target uses.
    fn iterate_devices(&self, _visitor: &mut DeviceVisitor<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Adjusts the limits of the device, stacked from those of the lower devices.
    fn io_hints(&self, _limits: &mut QueueLimits<'_>) {}
}

/// Writes the beginning of every target's IMA text: name and version of the type `T`.
pub(crate) fn write_ima_name<T: Target>(text: &mut StatusText<'_>) -> fmt::Result {
    let [major, minor, patch] = T::VERSION;
    let name = T::NAME.to_str().map_err(|_| fmt::Error)?;
    fmt::write(
        text,
        format_args!("target_name={name},target_version={major}.{minor}.{patch}"),
    )
}
