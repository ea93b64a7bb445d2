// SPDX-License-Identifier: GPL-2.0

//! Failures at every step, against a model of device-mapper.

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

/// A kernel that keeps the rules of device-mapper, and fails at a chosen step.
#[derive(Clone, Debug)]
struct Fake {
    devices: BTreeMap<String, Model>,
    next: u32,
    /// How many leaves are held.
    held: Rc<Cell<u32>>,
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
            held: Rc::default(),
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
    type Held = Held;

    fn find(&mut self, name: &str) -> Result<Option<Found>> {
        Ok(self.devices.get(name).map(|model| Found {
            uuid: model.uuid.clone(),
            number: model.number,
            live: model.live,
        }))
    }

    fn attach(&mut self, _: &Leaf) -> Result<(Held, Number)> {
        self.may_fail()?;
        self.next += 1;
        self.held.set(self.held.get() + 1);
        Ok((Held(Rc::clone(&self.held)), Number(7, self.next)))
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
    // The three shapes of a layer: raw, compressed, compressed and ending inside a sector.
    let len = if number % 3 == 2 { 10_000 } else { 10_240 };
    LayerShape {
        path: "/layer".into(),
        remote: false,
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
        // Another image with some of the layers exists already.
        if !others.is_empty() {
            let layers: Vec<_> = others.iter().map(|number| pool[*number].clone()).collect();
            let device = plan(&shape(&layers), &wish("other", false));
            make(&mut kernel, &device, &mut Quiet).unwrap();
        }
        let before = kernel.devices.clone();
        let layers: Vec<_> = (numbers.iter())
            .map(|number| pool[usize::from(*number)].clone())
            .collect();
        let device = plan(&shape(&layers), &wish("image", store));

        kernel.steps = 0;
        kernel.fail_at = Some(fail_at);
        let made = make(&mut kernel, &device, &mut Quiet);
        prop_assert_eq!(kernel.held.get(), 0);
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
        // Like a killed run, this undoes nothing.
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
    panic!("no run completes");
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
