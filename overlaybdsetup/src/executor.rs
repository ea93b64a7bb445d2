// SPDX-License-Identifier: GPL-2.0

//! Makes the devices of a plan, each behind those below it, and takes down what it made when a step fails.
//!
//! What is there already and shared is used as it is. A device below the root that has no table is what a run
//! that was killed has left: it is made anew.
//!
//! Loop devices are never taken down: they go with their last user.

use crate::error::{Error, Result, Status};
use crate::plan::{Device, Loop, On};
use std::fmt;

/// A device's major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32, pub u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A device that is there.
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

/// What the executor does devices with.
pub trait Kernel {
    /// A loop device that stays as long as it is held, and as long as it is used.
    type Loop;

    /// Looks for a device by its name.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    fn find(&mut self, name: &str) -> Result<Option<Found>>;

    /// Makes a loop device.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn attach(&mut self, wanted: &Loop) -> Result<(Self::Loop, Number)>;

    /// Makes a device without a table.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn create(&mut self, device: &Device) -> Result<Number>;

    /// Gives a device its table.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn load(&mut self, device: &Device, table: &[TableLine]) -> Result<()>;

    /// Lets a device work with the table it was given, and makes its node.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn resume(&mut self, device: &Device) -> Result<()>;

    /// Takes a device down.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    fn remove(&mut self, name: &str) -> Result<()>;
}

/// Called after each step with what was done: an error ends the work there, as if the next step had failed.
pub trait Watch {
    /// A step is done.
    ///
    /// # Errors
    ///
    /// Why the work is to end.
    fn step(&mut self, done: &str) -> Result<()>;
}

/// What was made, in order.
#[derive(Debug, Default)]
pub struct Made {
    names: Vec<String>,
}

impl Made {
    /// Takes down all that was made, the last first. Returns `cause`, with what could not be taken down.
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

/// Makes the devices of a plan. The result says what was made, so that what follows can undo it as well.
///
/// # Errors
///
/// What failed; nothing of what was made is left then, or the error says what is.
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
    // Held until the table holds them.
    let mut held = Vec::with_capacity(device.loops.len());
    let mut loops = Vec::with_capacity(device.loops.len());
    for wanted in &device.loops {
        let (device, number) = kernel.attach(wanted)?;
        held.push(device);
        loops.push(number);
        watch.step("a loop device attached")?;
    }
    let number = kernel.create(device)?;
    made.names.push(device.name.clone());
    watch.step("a device created")?;
    let show = |on: On| {
        let number = match on {
            On::Loop(number) => loops.get(number),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{plan, Form, ImageShape, Key, LayerShape, StoreShape, Wish};
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Model {
        uuid: String,
        number: Number,
        table: Option<Vec<TableLine>>,
        live: bool,
    }

    /// A kernel that keeps the rules of device-mapper, and fails at the step it is told to.
    #[derive(Clone, Debug)]
    struct Fake {
        devices: BTreeMap<String, Model>,
        next: u32,
        loops: Rc<Cell<u32>>,
        fail_at: Option<u32>,
        steps: u32,
    }

    struct Held(Rc<Cell<u32>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    impl Fake {
        fn new() -> Self {
            Self {
                devices: BTreeMap::new(),
                next: 0,
                loops: Rc::default(),
                fail_at: None,
                steps: 0,
            }
        }

        fn may_fail(&mut self) -> Result<()> {
            self.steps += 1;
            if self.fail_at == Some(self.steps) {
                return Err(Error::refused("told to fail"));
            }
            Ok(())
        }

        fn users(&self, number: Number) -> usize {
            let number = number.to_string();
            (self.devices.values())
                .filter_map(|device| device.table.as_ref())
                .flatten()
                .filter(|line| line.3.split(' ').any(|word| word == number))
                .count()
        }
    }

    impl Kernel for Fake {
        type Loop = Held;

        fn find(&mut self, name: &str) -> Result<Option<Found>> {
            Ok(self.devices.get(name).map(|model| Found {
                uuid: model.uuid.clone(),
                number: model.number,
                live: model.live,
            }))
        }

        fn attach(&mut self, _: &Loop) -> Result<(Held, Number)> {
            self.may_fail()?;
            self.next += 1;
            self.loops.set(self.loops.get() + 1);
            Ok((Held(Rc::clone(&self.loops)), Number(7, self.next)))
        }

        fn create(&mut self, device: &Device) -> Result<Number> {
            self.may_fail()?;
            let taken = (self.devices.iter())
                .any(|(name, model)| *name == device.name || model.uuid == device.uuid);
            if taken {
                return Err(Error::new(Status::Busy, "the name or the uuid is taken"));
            }
            self.next += 1;
            let model = Model {
                uuid: device.uuid.clone(),
                number: Number(254, self.next),
                table: None,
                live: false,
            };
            let number = model.number;
            self.devices.insert(device.name.clone(), model);
            Ok(number)
        }

        fn load(&mut self, device: &Device, table: &[TableLine]) -> Result<()> {
            self.may_fail()?;
            let model = self.devices.get_mut(&device.name).expect("created before");
            model.table = Some(table.to_vec());
            Ok(())
        }

        fn resume(&mut self, device: &Device) -> Result<()> {
            self.may_fail()?;
            let model = self.devices.get_mut(&device.name).expect("created before");
            assert!(model.table.is_some());
            model.live = true;
            Ok(())
        }

        fn remove(&mut self, name: &str) -> Result<()> {
            let number = self.devices.get(name).expect("only what is there").number;
            if self.users(number) > 0 {
                return Err(Error::new(Status::Busy, format!("{name} is in use")));
            }
            self.devices.remove(name);
            Ok(())
        }
    }

    struct Quiet;

    impl Watch for Quiet {
        fn step(&mut self, _: &str) -> Result<()> {
            Ok(())
        }
    }

    fn layer(number: u8) -> LayerShape {
        // Numbers of all three shapes: raw, compressed, compressed and cut in a sector.
        let len = if number % 3 == 2 { 10_000 } else { 10_240 };
        LayerShape {
            path: "/layer".into(),
            key: Key::of(&["layer", &number.to_string()]),
            offset: 0,
            len,
            file_len: len,
            form: if number.is_multiple_of(3) {
                Form::Raw
            } else {
                Form::Zfile {
                    content_len: 1 << 16,
                    needed: len,
                }
            },
        }
    }

    fn shape(layers: &[LayerShape]) -> ImageShape {
        ImageShape {
            layers: layers.to_vec(),
            virtual_size: 1 << 20,
        }
    }

    fn wish(name: &str, store: bool) -> Wish {
        Wish {
            name: name.into(),
            direct_io: true,
            share: true,
            store: store.then(|| StoreShape {
                path: "/store".into(),
                key: Key::of(&["store"]),
                offset: 4096,
            }),
        }
    }

    proptest! {
        #[test]
        fn a_failure_at_any_step_leaves_all_as_it_was(
            numbers in proptest::collection::vec(0u8..6, 1..6),
            others in proptest::collection::vec(0usize..6, 0..4),
            store: bool,
            fail_at in 1u32..60,
        ) {
            let pool: Vec<LayerShape> = (0..6).map(layer).collect();
            let mut kernel = Fake::new();
            // Another image is there, with some of the layers.
            if !others.is_empty() {
                let layers: Vec<_> = others.iter().map(|number| pool[*number].clone()).collect();
                let device = plan(&shape(&layers), &wish("other", false));
                make(&mut kernel, &device, &mut Quiet).unwrap();
            }
            let before = kernel.devices.clone();
            let layers: Vec<_> = numbers.iter().map(|number| pool[usize::from(*number)].clone()).collect();
            let device = plan(&shape(&layers), &wish("image", store));

            kernel.steps = 0;
            kernel.fail_at = Some(fail_at);
            let made = make(&mut kernel, &device, &mut Quiet);
            prop_assert_eq!(kernel.loops.get(), 0);
            match made {
                Err(error) => {
                    prop_assert_eq!(error.to_string(), "told to fail");
                    prop_assert_eq!(&kernel.devices, &before);
                }
                Ok(made) => {
                    prop_assert!(fail_at > kernel.steps);
                    prop_assert!(kernel.devices["image"].live);
                    let error = made.undo(&mut kernel, Error::refused("later"));
                    prop_assert_eq!(error.to_string(), "later");
                    prop_assert_eq!(&kernel.devices, &before);
                }
            }
        }
    }

    #[test]
    fn a_device_of_that_name_is_left_alone() {
        let mut kernel = Fake::new();
        let device = plan(&shape(&[layer(1)]), &wish("image", false));
        make(&mut kernel, &device, &mut Quiet).unwrap();
        let before = kernel.devices.clone();
        let error = make(&mut kernel, &device, &mut Quiet).unwrap_err();
        assert_eq!(error.status(), Status::Busy);
        assert_eq!(kernel.devices, before);
    }

    #[test]
    fn what_a_killed_run_left_is_made_anew() {
        let device = plan(&shape(&[layer(1), layer(2)]), &wish("image", false));
        for steps in 1..40 {
            let mut kernel = Fake::new();
            kernel.fail_at = Some(steps);
            // As if killed: nothing is undone.
            let mut made = Made::default();
            let killed = make_one(&mut kernel, &device, &mut made, &mut Quiet).is_err();
            if !killed {
                assert!(steps > 10);
                return;
            }
            kernel.fail_at = None;
            if kernel.devices.contains_key("image") {
                continue;
            }
            make(&mut kernel, &device, &mut Quiet).unwrap();
            assert!(kernel.devices.values().all(|model| model.live));
        }
        panic!("it never ends");
    }

    #[test]
    fn a_watch_ends_the_work() {
        struct Nervous(u32);
        impl Watch for Nervous {
            fn step(&mut self, _: &str) -> Result<()> {
                self.0 -= 1;
                if self.0 == 0 {
                    return Err(Error::new(Status::Signal(15), "interrupted"));
                }
                Ok(())
            }
        }
        let device = plan(&shape(&[layer(1), layer(2)]), &wish("image", true));
        for steps in 1..20 {
            let mut kernel = Fake::new();
            if let Err(error) = make(&mut kernel, &device, &mut Nervous(steps)) {
                assert_eq!(error.status(), Status::Signal(15));
                assert!(kernel.devices.is_empty());
            }
        }
    }
}
