// SPDX-License-Identifier: GPL-2.0

//! The devices of each kind of layer, and names and uuids.

use super::*;

fn layer(number: u64, offset: u64, len: u64, file_len: u64, form: Form) -> LayerShape {
    LayerShape {
        path: format!("/layers/{number}").into(),
        remote: false,
        key: Key::of(&["file", &number.to_string()]),
        offset,
        len,
        file_len,
        form,
    }
}

fn zfile(number: u64, len: u64, needed: u64) -> LayerShape {
    let form = Form::Zfile {
        content_len: 1 << 20,
        needed,
    };
    layer(number, 0, len, len, form)
}

fn image(layers: Vec<LayerShape>) -> ImageShape {
    ImageShape {
        layers,
        virtual_size: 1 << 30,
    }
}

fn wish(name: &str) -> Wish {
    Wish {
        name: name.into(),
        direct_io: true,
        share: true,
        store: None,
    }
}

fn store() -> StoreShape {
    StoreShape {
        path: "/store".into(),
        key: Key::of(&["store"]),
        offset: 4096,
    }
}

#[test]
fn a_layer_of_each_kind() {
    let tar = Form::Zfile {
        content_len: 3657728,
        needed: 1000,
    };
    let image = image(vec![
        zfile(0, 1737758, 1737758),
        layer(1, 1536, 218135, 220672, tar),
        layer(2, 0, 147456, 147456, Form::Raw),
    ]);
    let device = plan(&image, &wish("img"));
    assert_eq!((device.kind, device.name.as_str()), (Kind::Image, "img"));
    assert!(device.uuid.ends_with("-img"));
    assert_eq!(device.below.len(), 2);
    assert_eq!(device.leaves.len(), 1);
    assert_eq!(
        device.table,
        [Line {
            start: 0,
            sectors: 1 << 21,
            target: Target::Lsmt(vec![
                (On::Below(0), 1 << 20),
                (On::Below(1), 3657728),
                (On::Leaf(0), 147456),
            ]),
        }]
    );

    // The trailer of the first layer is in a partial last sector.
    let first = &device.below[0];
    assert_eq!(first.table[0].target, Target::Zfile(On::Below(0), 1737758));
    let file = &first.below[0];
    assert_eq!(file.kind, Kind::File);
    assert_eq!(file.leaves[0].limit, 1737728);
    assert_eq!(file.leaves[1].backing, Backing::Tail(0));
    assert_eq!((file.table[0].sectors, file.table[1].sectors), (3394, 1));
    assert_eq!(file.table[1].start, 3394);

    // The tar contains all sectors of the second layer.
    let second = &device.below[1];
    assert_eq!(second.table[0].target, Target::Zfile(On::Leaf(0), 218135));
    assert_eq!(second.table[0].sectors, 7144);
    assert_eq!(
        (second.leaves[0].offset, second.leaves[0].limit),
        (1536, 218624)
    );
}

#[test]
fn what_is_complete_without_its_end_takes_no_device_for_it() {
    let device = plan(&image(vec![zfile(0, 10_000, 9_400)]), &wish("img"));
    let layer = &device.below[0];
    assert!(layer.below.is_empty());
    assert_eq!(layer.table[0].target, Target::Zfile(On::Leaf(0), 9_728));
    // All bytes are needed, and all are in whole sectors.
    let device = plan(&image(vec![zfile(0, 10_240, 10_240)]), &wish("img"));
    assert!(device.below[0].below.is_empty());
    // The header is complete, but the index reaches into the last, partial sector.
    let device = plan(&image(vec![zfile(0, 10_000, 9_999)]), &wish("img"));
    assert_eq!(device.below[0].below[0].kind, Kind::File);
}

#[test]
fn images_share_layers_and_nothing_else() {
    let base = || zfile(0, 10_240, 10_240);
    let one = plan(&image(vec![base(), zfile(1, 512, 512)]), &wish("one"));
    let two = plan(&image(vec![base(), zfile(2, 512, 512)]), &wish("two"));
    assert_eq!(one.below[0], two.below[0]);
    assert_ne!(one.below[1].uuid, two.below[1].uuid);
    assert_ne!(one.uuid, two.uuid);

    let alone = Wish {
        share: false,
        ..wish("three")
    };
    let three = plan(&image(vec![base()]), &alone);
    assert_ne!(one.below[0].uuid, three.below[0].uuid);
    let buffered = Wish {
        direct_io: false,
        ..wish("four")
    };
    let four = plan(&image(vec![base()]), &buffered);
    assert_ne!(one.below[0].uuid, four.below[0].uuid);
    assert!(!four.below[0].leaves[0].direct_io);
}

#[test]
fn devices_that_can_be_written_share_the_whole_image() {
    let image = image(vec![zfile(0, 10_240, 10_240)]);
    let writable = |name: &str| {
        let wish = Wish {
            store: Some(store()),
            ..wish(name)
        };
        plan(&image, &wish)
    };
    let (one, two) = (writable("one"), writable("two"));
    assert_eq!(one.below, two.below);
    assert_eq!(one.below[0].kind, Kind::Origin);
    // A store belongs to one device: the kernel refuses a second one with its uuid.
    assert_eq!(one.uuid, two.uuid);
    assert!(!one.read_only && one.below[0].read_only);
    assert_eq!(one.leaves[0].offset, 4096);
    let show = |on: On| match on {
        On::Leaf(_) => "7:0".to_string(),
        On::Below(_) => "254:0".to_string(),
    };
    assert_eq!(one.table[0].target.arguments(show), "254:0 7:0 PO 8");
}

#[test]
fn uuids_tell_the_kind() {
    let device = plan(&image(vec![zfile(0, 10_000, 10_000)]), &wish("my-vm"));
    assert_eq!(Kind::of_uuid(&device.uuid), Some(Kind::Image));
    assert_eq!(Kind::of_uuid(&device.below[0].uuid), Some(Kind::Layer));
    assert_eq!(Kind::of_uuid("CRYPT-VERITY-00-x"), None);
    assert_eq!(Kind::of_uuid("OVERLAYBD-OTHER-00"), None);
    let longest = plan(
        &image(vec![zfile(0, 512, 512)]),
        &wish(&"n".repeat(MAX_NAME)),
    );
    assert!(longest.uuid.len() < 128);
}

#[test]
fn names() {
    for good in ["a", "vm-1", "my.image@2", &"n".repeat(MAX_NAME)] {
        assert_eq!(check_name(good), Ok(()));
    }
    let long = "n".repeat(MAX_NAME + 1);
    for bad in [
        "",
        "a b",
        "a/b",
        "overlaybd-x",
        "control",
        ".",
        "..",
        "-x",
        "\u{e4}",
        &long,
    ] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn layers_in_a_registry() {
    let mut plain = zfile(0, 5000, 5000);
    let mut in_tar = layer(1, 1536, 70_001, 72_192, Form::Raw);
    plain.remote = true;
    in_tar.remote = true;
    let device = plan(&image(vec![plain, in_tar]), &wish("x"));
    let blob = |number| Leaf {
        backing: Backing::Blob(number),
        offset: 0,
        limit: 0,
        read_only: true,
        direct_io: false,
    };
    // The device is padded to whole sectors: nothing joins a last one to it.
    assert_eq!(device.below[0].leaves, [blob(0)]);
    assert_eq!(device.below[0].below, []);
    assert_eq!(
        device.below[0].table[0].target,
        Target::Zfile(On::Leaf(0), 5000)
    );
    // It cannot start later than its blob.
    let file = &device.below[1];
    assert_eq!((file.kind, &file.leaves), (Kind::File, &vec![blob(1)]));
    assert_eq!(file.table[0].target, Target::Linear(On::Leaf(0), 3));
    assert_eq!(file.table[0].sectors, 137);
    assert_eq!(
        file.table[0].target.arguments(|_| "43:0".to_string()),
        "43:0 3"
    );
    assert_eq!(
        device.table[0].target,
        Target::Lsmt(vec![(On::Below(0), 1 << 20), (On::Below(1), 70_001)])
    );
}
