// SPDX-License-Identifier: GPL-2.0

//! Creates the devices of a plan, from the bottom up, and removes those it created when a step
//! fails.
//!
//! An existing shared device is used as it is. A device below the root that has no table was left
//! by a killed run; it is removed and created again.
//!
//! Leaves, loop and network block devices, are never detached here: they go with their last user.

#[cfg(test)]
mod tests;

use crate::error::{Error, Result, Status};
use crate::plan::{Device, Leaf, On};
use crate::sysfs::Number;

/// A device that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its uuid.
    pub uuid: String,
    /// Its number.
    pub number: Number,
    /// Whether it has a table and takes I/O.
    pub live: bool,
}

/// A line of a table as the kernel takes it: first sector, sectors, target, arguments.
pub type TableLine = (u64, u64, String, String);

/// The operations on devices that the executor needs. Each returns the kernel's error.
pub trait Kernel {
    /// A leaf that stays attached as long as it is held or in use.
    type Held;

    /// Looks for a device by its name.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    fn find(&mut self, name: &str) -> Result<Option<Found>>;

    /// Attaches a leaf.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    fn attach(&mut self, wanted: &Leaf) -> Result<(Self::Held, Number)>;

    /// Creates a device without a table.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    fn create(&mut self, device: &Device) -> Result<Number>;

    /// Loads the table of a device.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    fn load(&mut self, device: &Device, table: &[TableLine]) -> Result<()>;

    /// Resumes a device with the loaded table, and creates its node.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    fn resume(&mut self, device: &Device) -> Result<()>;

    /// Removes a device.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    fn remove(&mut self, name: &str) -> Result<()>;
}

/// Called after each step. An error ends the work there, as if the next step had failed.
pub trait Watch {
    /// Called when the step that `done` describes is complete.
    ///
    /// # Errors
    ///
    /// The reason to end the work.
    fn step(&mut self, done: &str) -> Result<()>;
}

/// The devices that were created, in order.
#[derive(Debug, Default)]
pub struct Made {
    names: Vec<String>,
}

impl Made {
    /// Removes all that was created, the last first. Returns `cause`, with the devices that could
    /// not be removed.
    pub fn undo<K: Kernel>(self, kernel: &mut K, cause: Error) -> Error {
        let mut left = Vec::new();
        for name in self.names.iter().rev() {
            if let Err(error) = kernel.remove(name) {
                left.push(error.to_string());
            }
        }
        if left.is_empty() {
            return cause;
        }
        Error::new(
            cause.status(),
            format!(
                "{cause}; and it could not be taken down: {}",
                left.join("; ")
            ),
        )
    }
}

/// Creates the devices of a plan. The result lists them, so that the caller can undo this step too.
///
/// # Errors
///
/// The step that failed. All created devices are removed then, or the error names those that are
/// left.
pub fn make<K: Kernel>(kernel: &mut K, device: &Device, watch: &mut impl Watch) -> Result<Made> {
    let mut made = Made::default();
    match make_one(kernel, device, &mut made, watch) {
        Ok(_) => Ok(made),
        Err(error) => Err(made.undo(kernel, error)),
    }
}

fn make_one<K: Kernel>(
    kernel: &mut K,
    device: &Device,
    made: &mut Made,
    watch: &mut impl Watch,
) -> Result<Number> {
    if let Some(found) = kernel.find(&device.name)? {
        let same = found.uuid == device.uuid;
        if device.kind.is_named() || !same {
            return Err(Error::new(
                Status::Busy,
                format!("there is a device {} already", device.name),
            ));
        }
        if found.live {
            return Ok(found.number);
        }
        kernel.remove(&device.name)?;
        watch.step("a device without a table removed")?;
    }
    let mut below = Vec::with_capacity(device.below.len());
    for lower in &device.below {
        below.push(make_one(kernel, lower, made, watch)?);
    }
    // Held until the loaded table uses them.
    let mut held = Vec::with_capacity(device.leaves.len());
    let mut leaves = Vec::with_capacity(device.leaves.len());
    for wanted in &device.leaves {
        let (device, number) = kernel.attach(wanted)?;
        held.push(device);
        leaves.push(number);
        watch.step("a leaf attached")?;
    }
    let number = kernel.create(device)?;
    made.names.push(device.name.clone());
    watch.step("a device created")?;
    let show = |on: On| {
        let number = match on {
            On::Leaf(number) => leaves.get(number),
            On::Below(number) => below.get(number),
        };
        number.map(ToString::to_string).unwrap_or_default()
    };
    let table: Vec<TableLine> = (device.table.iter())
        .map(|line| {
            (
                line.start,
                line.sectors,
                line.target.name().to_string(),
                line.target.arguments(show),
            )
        })
        .collect();
    kernel.load(device, &table)?;
    watch.step("a table loaded")?;
    kernel.resume(device)?;
    watch.step("a device resumed")?;
    Ok(number)
}
