// SPDX-License-Identifier: GPL-2.0

//! Device-mapper target types: the trait a target implements, and its registration.
//!
//! [`Registration`] fills a `struct target_type` with the functions the target implements, and
//! only those; each is called with references that hold for the call.

use super::{
    args::Args,
    bindings,
    bio::{
        Bio,
        Mapped, //
    },
    device::LowerDevice,
    limits::QueueLimits,
    log::Log,
    status::{
        StatusKind,
        StatusText, //
    },
};
use core::{
    fmt,
    marker::PhantomData,
    ops::ControlFlow,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};
use overlaybd_format::units::{
    Sector,
    Sectors, //
};

/// What a target type declares about itself.
#[derive(Clone, Copy)]
pub(crate) struct Features(u64);

impl Features {
    /// Nothing out of the ordinary.
    pub(crate) const NONE: Self = Self(0);
    /// `map` never waits, not even for memory.
    pub(crate) const NOWAIT: Self = Self(bindings::DM_OVERLAYBD_TARGET_NOWAIT);
}

/// State that a target needs for each bio beyond `map`. `()` is for targets that need none.
pub(crate) trait PerBio {
    /// What all targets of the type share to work on such bios.
    type Shared: Send + Sync;
    /// Size of the state in bytes.
    const SIZE: usize;

    /// Makes what is shared, when the type is registered.
    fn new_shared() -> Result<Self::Shared>;
    /// Waits until nothing of the type's doing refers to a target all of whose bios have ended.
    fn drain(shared: &Self::Shared);
}

impl PerBio for () {
    type Shared = ();
    const SIZE: usize = 0;

    fn new_shared() -> Result {
        Ok(())
    }

    fn drain((): &()) {}
}

/// A device-mapper target. A value is one line of a table.
///
/// `map` is called on all CPUs at once, hence `&self` and `Sync`.
#[vtable]
pub(crate) trait Target: Sized + Send + Sync + 'static {
    /// The name tables use.
    const NAME: &'static CStr;
    /// Major, minor and patch level of the table's form and meaning.
    const VERSION: [c_uint; 3];
    /// What the type declares about itself.
    const FEATURES: Features;
    /// State a bio needs beyond `map`: `()`, or [`Pending`](super::Pending).
    type Io: PerBio;
    /// What all targets of the type have in common; made when the type is registered.
    type Context: Send + Sync;

    /// Makes a target of a table line. May sleep.
    fn ctr(
        context: &Self::Context,
        setup: &mut Setup<'_>,
        args: Args<'_>,
    ) -> Result<Self, CtrError>;

    /// Sends a bio on its way. Must not wait for I/O.
    fn map(&self, bio: Bio<'_, Self>) -> Mapped;

    /// Describes the target. What does not fit into `text` is cut.
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

/// Why a table line is refused.
pub(crate) struct CtrError {
    message: &'static CStr,
    errno: Error,
}

impl From<AllocError> for CtrError {
    fn from(_: AllocError) -> Self {
        Self {
            message: c"Out of memory",
            errno: ENOMEM,
        }
    }
}

/// A target while its constructor runs.
///
/// # Invariants
///
/// `ti` is a target being constructed, of the type `name`; it outlives whatever its constructor
/// returns.
pub(crate) struct Setup<'a> {
    ti: NonNull<bindings::dm_target>,
    name: &'static CStr,
    _ti: PhantomData<&'a mut bindings::dm_target>,
}

impl Setup<'_> {
    /// The length the table gives the target.
    pub(crate) fn len(&self) -> Sectors {
        // SAFETY: `ti` is live by the type invariant.
        Sectors::new(unsafe { (*self.ti.as_ptr()).len })
    }

    /// The log of this target, for its constructor and for the target made by it.
    pub(crate) fn log(&self) -> Log {
        // SAFETY: `ti` outlives what the constructor returns by the type invariant.
        unsafe { Log::new(self.ti, self.name) }
    }

    /// Opens a lower device for reading. `path` is what the table says.
    pub(crate) fn open(&mut self, path: &CStr) -> Result<LowerDevice, CtrError> {
        // SAFETY: `ti` is being constructed and outlives what the constructor returns, by the
        // type invariant.
        unsafe { LowerDevice::open(self.ti, path) }.map_err(|errno| {
            self.refuse(
                c"Device lookup failed",
                errno,
                format_args!("cannot open {}", path.to_str().unwrap_or("?")),
            )
        })
    }

    /// Has device-mapper split bios at multiples of `sectors`, a positive number.
    pub(crate) fn set_max_io_len(&mut self, sectors: u32) {
        // SAFETY: `ti` is being constructed by the type invariant; any 32-bit length is accepted.
        let _ = unsafe { bindings::dm_set_target_max_io_len(self.ti.as_ptr(), u64::from(sectors)) };
    }

    /// The refusal of a table line: `message` goes to whoever loads the table, `detail`, with the
    /// offending value, to the log.
    pub(crate) fn refuse(
        &self,
        message: &'static CStr,
        errno: Error,
        detail: fmt::Arguments<'_>,
    ) -> CtrError {
        self.log().error(detail);
        CtrError { message, errno }
    }
}

/// Takes the parts of lower devices that a target uses, on behalf of device-mapper.
///
/// # Invariants
///
/// `visit` and `data` are the function and argument device-mapper passed for the live target `ti`.
pub(crate) struct DeviceVisitor<'a> {
    ti: NonNull<bindings::dm_target>,
    visit: unsafe extern "C" fn(
        *mut bindings::dm_target,
        *mut bindings::dm_dev,
        bindings::sector_t,
        bindings::sector_t,
        *mut c_void,
    ) -> c_int,
    data: *mut c_void,
    result: c_int,
    _call: PhantomData<&'a ()>,
}

impl DeviceVisitor<'_> {
    /// Shows `len` sectors of `device` from `start` on; breaks when no more are wanted.
    pub(crate) fn visit(
        &mut self,
        device: &LowerDevice,
        start: Sector,
        len: Sectors,
    ) -> ControlFlow<()> {
        // SAFETY: By the type invariant this is the call device-mapper asks for, and `device` is
        // open.
        self.result = unsafe {
            (self.visit)(
                self.ti.as_ptr(),
                device.as_ptr(),
                start.get(),
                len.get(),
                self.data,
            )
        };
        match self.result {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// A `struct target_type` with what all targets of the type share.
///
/// `target_type` is the first field, so that a target's `type` leads here.
#[repr(C)]
pub(super) struct Registered<T: Target> {
    target_type: bindings::target_type,
    shared: <T::Io as PerBio>::Shared,
    context: T::Context,
}

impl<T: Target> Registered<T> {
    /// What all targets of the type of `ti` share.
    ///
    /// # Safety
    ///
    /// `ti` must be a live target of a type registered as `T`, and live for `'a`.
    pub(super) unsafe fn shared<'a>(
        ti: NonNull<bindings::dm_target>,
    ) -> &'a <T::Io as PerBio>::Shared {
        // SAFETY: The target is live, and its type is the first field of a `Registered<T>` that
        // outlives it. Only `shared` is borrowed: device-mapper goes on using `target_type`.
        unsafe {
            let registered: *const Self = (*ti.as_ptr()).type_.cast_const().cast();
            &(*registered).shared
        }
    }

    /// What all targets of the type of `ti` have in common.
    ///
    /// # Safety
    ///
    /// As for [`Registered::shared`].
    unsafe fn context<'a>(ti: NonNull<bindings::dm_target>) -> &'a T::Context {
        // SAFETY: As in `shared`.
        unsafe {
            let registered: *const Self = (*ti.as_ptr()).type_.cast_const().cast();
            &(*registered).context
        }
    }
}

/// The registration of a target type. Dropping it unregisters.
///
/// # Invariants
///
/// The pointer comes from a `KBox`, and its `target_type` is registered. No target of the type
/// is left when it is dropped: each holds a reference to the module that owns the registration.
pub(crate) struct Registration<T: Target>(NonNull<Registered<T>>);

// SAFETY: A registration can be dropped by any thread; what is shared is `Send`.
unsafe impl<T: Target> Send for Registration<T> {}
// SAFETY: A shared reference to a registration gives access to nothing.
unsafe impl<T: Target> Sync for Registration<T> {}

impl<T: Target> Registration<T> {
    /// Registers the target type `T` as one of `module`, which must own the registration.
    pub(crate) fn new(module: &'static ThisModule, context: T::Context) -> Result<Self> {
        let target_type = bindings::target_type {
            features: T::FEATURES.0,
            name: T::NAME.as_char_ptr(),
            module: module.as_ptr(),
            version: T::VERSION,
            ctr: Some(ctr::<T>),
            dtr: Some(dtr::<T>),
            map: Some(map::<T>),
            status: if T::HAS_STATUS {
                Some(status::<T>)
            } else {
                None
            },
            iterate_devices: if T::HAS_ITERATE_DEVICES {
                Some(iterate_devices::<T>)
            } else {
                None
            },
            io_hints: if T::HAS_IO_HINTS {
                Some(io_hints::<T>)
            } else {
                None
            },
            ..Default::default()
        };
        let shared = T::Io::new_shared()?;
        let registered = KBox::new(
            Registered::<T> {
                target_type,
                shared,
                context,
            },
            GFP_KERNEL,
        )?;
        let registered = KBox::into_raw(registered);
        // SAFETY: The structure is filled and stays where it is until it is unregistered.
        let result = unsafe { bindings::dm_register_target(&raw mut (*registered).target_type) };
        if let Err(error) = kernel::error::to_result(result) {
            // SAFETY: The pointer comes from `KBox::into_raw` above; nobody else has it.
            drop(unsafe { KBox::from_raw(registered) });
            return Err(error);
        }
        // INVARIANT: The type has just been registered.
        // SAFETY: Pointers from a `KBox` are not null.
        Ok(Self(unsafe { NonNull::new_unchecked(registered) }))
    }
}

impl<T: Target> Drop for Registration<T> {
    fn drop(&mut self) {
        let registered = self.0.as_ptr();
        // SAFETY: By the type invariant the type is registered, has no targets left and comes
        // from a `KBox`, which nobody refers to once it is unregistered.
        unsafe {
            bindings::dm_unregister_target(&raw mut (*registered).target_type);
            drop(KBox::from_raw(registered));
        }
    }
}

// The functions below are what `struct target_type` points to. Device-mapper calls them for
// targets of the type they are instantiated for, with live pointers; each states what else it
// relies on.

/// # Safety
///
/// To be called by device-mapper to construct `ti` with `argc` words at `argv`.
unsafe extern "C" fn ctr<T: Target>(
    ti: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
) -> c_int {
    let Some(target) = NonNull::new(ti) else {
        return EINVAL.to_errno();
    };
    // INVARIANT: `ti` is being constructed, and what is constructed is dropped by `dtr`, before
    // device-mapper frees `ti`.
    let mut setup = Setup {
        ti: target,
        name: T::NAME,
        _ti: PhantomData,
    };
    // SAFETY: Device-mapper passes `argc` strings, which live until the constructor returns.
    let args = unsafe { Args::new(argc, argv) };
    // SAFETY: `ti` is a target of this type, live while it is constructed.
    let context = unsafe { Registered::<T>::context(target) };
    let made = T::ctr(context, &mut setup, args)
        .and_then(|made| KBox::new(made, GFP_KERNEL).map_err(CtrError::from));
    match made {
        Ok(made) => {
            // SAFETY: `ti` is live, and device-mapper does not use it while it is constructed.
            unsafe {
                (*ti).private = KBox::into_raw(made).cast();
                (*ti).per_io_data_size = T::Io::SIZE as c_uint;
            }
            0
        }
        Err(error) => {
            // SAFETY: As above; device-mapper only reads the message.
            unsafe { (*ti).error = error.message.as_char_ptr().cast_mut() };
            error.errno.to_errno()
        }
    }
}

/// # Safety
///
/// To be called by device-mapper, once, for a target that `ctr` has constructed and whose bios
/// have all ended.
unsafe extern "C" fn dtr<T: Target>(ti: *mut bindings::dm_target) {
    // SAFETY: `ti` is live and constructed, so `type` leads to its registration and `private` is
    // what `ctr` made. After draining, nobody refers to it.
    unsafe {
        if let Some(target) = NonNull::new(ti) {
            T::Io::drain(Registered::<T>::shared(target));
        }
        drop(KBox::<T>::from_raw((*ti).private.cast()));
    }
}

/// # Safety
///
/// To be called by device-mapper with a constructed target and a bio for it.
unsafe extern "C" fn map<T: Target>(
    ti: *mut bindings::dm_target,
    bio: *mut bindings::bio,
) -> c_int {
    let (Some(target), Some(bio)) = (NonNull::new(ti), NonNull::new(bio)) else {
        return bindings::DM_OVERLAYBD_MAPIO_KILL;
    };
    // SAFETY: `ti` is constructed, so `private` is a `T`, of which only shared references are
    // made until `dtr`; the bio is passed to this `map`.
    unsafe {
        let bio = Bio::new(bio, target);
        (*(*ti).private.cast::<T>()).map(bio).as_raw()
    }
}

/// # Safety
///
/// To be called by device-mapper with a constructed target and `maxlen` writable bytes at
/// `result`.
unsafe extern "C" fn status<T: Target>(
    ti: *mut bindings::dm_target,
    kind: bindings::status_type_t,
    _flags: c_uint,
    result: *mut c_char,
    maxlen: c_uint,
) {
    let Some(result) = NonNull::new(result.cast::<u8>()) else {
        return;
    };
    // SAFETY: The buffer is ours for the call; `private` is a `T` as in `map`.
    unsafe {
        let mut text = StatusText::new(result, maxlen as usize);
        if let Some(kind) = StatusKind::from_raw(kind) {
            // Writing to a `StatusText` does not fail: it cuts.
            let _ = (*(*ti).private.cast::<T>()).status(kind, &mut text);
        }
    }
}

/// # Safety
///
/// To be called by device-mapper with a constructed target and a function to call with `data`.
unsafe extern "C" fn iterate_devices<T: Target>(
    ti: *mut bindings::dm_target,
    visit: bindings::iterate_devices_callout_fn,
    data: *mut c_void,
) -> c_int {
    let (Some(target), Some(visit)) = (NonNull::new(ti), visit) else {
        return 0;
    };
    // INVARIANT: These are what device-mapper passed.
    let mut visitor = DeviceVisitor {
        ti: target,
        visit,
        data,
        result: 0,
        _call: PhantomData,
    };
    // SAFETY: `private` is a `T` as in `map`.
    let _ = unsafe { (*(*ti).private.cast::<T>()).iterate_devices(&mut visitor) };
    visitor.result
}

/// # Safety
///
/// To be called by device-mapper with a constructed target and limits that it alone uses.
unsafe extern "C" fn io_hints<T: Target>(
    ti: *mut bindings::dm_target,
    limits: *mut bindings::queue_limits,
) {
    // SAFETY: The limits are ours for the call; `private` is a `T` as in `map`.
    unsafe {
        let mut limits = QueueLimits::new(&mut *limits);
        (*(*ti).private.cast::<T>()).io_hints(&mut limits);
    }
}
