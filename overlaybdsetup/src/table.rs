// SPDX-License-Identifier: GPL-2.0

//! `table`: the plan of an image as a shell script of losetup and dmsetup commands, to read it or
//! to run it by hand. It creates no device.

use crate::cli;
use crate::error::Result;
use crate::image::Image;
use crate::mounts::quoted;
use crate::output::print;
use crate::plan::{check_name, node, plan, Backing, Device, ImageShape, Leaf, On, Wish};
use crate::source;
use overlaybd_format::units::SECTOR_SIZE;
use std::io::Write;

/// Prints the script.
///
/// # Errors
///
/// Anything wrong with the image, or an error of `out`.
pub fn run(arguments: &cli::Table, out: &mut dyn Write) -> Result<()> {
    check_name(&arguments.name)?;
    let files = source::layers(&arguments.image, None)?;
    let image = ImageShape::of(&Image::open(&files)?)?;
    let wish = Wish {
        name: arguments.name.clone(),
        direct_io: !arguments.buffered,
        share: true,
        store: None,
    };
    let script = script(&image, &plan(&image, &wish));
    print(out, |out| out.write_all(script.as_bytes()))
}

/// The script that creates the devices of a plan. Its last lines, comments, remove them again.
#[must_use]
pub fn script(image: &ImageShape, device: &Device) -> String {
    let mut script = Script {
        image,
        text: "set -e\n".to_string(),
        down: Vec::new(),
        loops: 0,
    };
    script.device(device);
    let down = script.down.iter().rev();
    let down: Vec<String> = down.map(|line| format!("# {line}\n")).collect();
    format!("{}# to take it down:\n{}", script.text, down.concat())
}

struct Script<'a> {
    image: &'a ImageShape,
    text: String,
    /// The commands that remove the devices, in the order of their creation.
    down: Vec<String>,
    /// The number of loop devices so far.
    loops: usize,
}

impl Script<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn device(&mut self, device: &Device) {
        for lower in &device.below {
            // An image may contain a layer twice.
            if !self
                .text
                .contains(&format!("dmsetup create {} ", lower.name))
            {
                self.device(lower);
            }
        }
        let first = self.loops;
        for wanted in &device.leaves {
            self.attach(wanted);
        }
        let show = |on: On| match on {
            On::Leaf(number) => format!("$loop{}", first + number),
            On::Below(number) => device
                .below
                .get(number)
                .map(|lower| node(&lower.name).display().to_string())
                .unwrap_or_default(),
        };
        let lines: Vec<String> = (device.table.iter())
            .map(|line| {
                format!(
                    "{} {} {} {}",
                    line.start,
                    line.sectors,
                    line.target.name(),
                    line.target.arguments(show)
                )
            })
            .collect();
        self.line(&format!(
            "dmsetup create {} --readonly --uuid {} --table \"{}\"",
            device.name,
            device.uuid,
            lines.join("\n")
        ));
        self.down.push(format!("dmsetup remove {}", device.name));
    }

    fn attach(&mut self, wanted: &Leaf) {
        let number = self.loops;
        self.loops += 1;
        let mut options = String::from("--read-only --find --show");
        if wanted.direct_io {
            options.push_str(" --direct-io=on");
        }
        if wanted.offset > 0 {
            options.push_str(&format!(" --offset {}", wanted.offset));
        }
        if wanted.limit > 0 {
            options.push_str(&format!(" --sizelimit {}", wanted.limit));
        }
        let layer = |number: usize| self.image.layers.get(number);
        let file = match wanted.backing {
            Backing::Layer(number) => layer(number).map(|layer| quoted(&layer.path)),
            Backing::Tail(tail) => layer(tail).map(|layer| {
                let path = format!("\"$end{number}\"");
                let rest = layer.len % SECTOR_SIZE;
                self.text.push_str(&format!(
                    "end{number}=$(mktemp)\n\
                     tail -c +{} {} | head -c {rest} >{path}\n\
                     truncate -s {SECTOR_SIZE} {path}\n",
                    layer.offset + layer.len - rest + 1,
                    quoted(&layer.path)
                ));
                path
            }),
            Backing::Blob(_) | Backing::Store => None,
        };
        self.line(&format!(
            "loop{number}=$(losetup {options} {})",
            file.unwrap_or_default()
        ));
        if matches!(wanted.backing, Backing::Tail(_)) {
            self.line(&format!("rm \"$end{number}\""));
        }
        self.down.push(format!("losetup --detach $loop{number}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Form, Key, LayerShape};

    #[test]
    fn a_script_of_every_kind_of_layer() {
        let layer = |path: &str, offset, len, file_len, form| LayerShape {
            path: path.into(),
            remote: false,
            key: Key::of(&[path]),
            offset,
            len,
            file_len,
            form,
        };
        let zfile = |content_len| Form::Zfile {
            content_len,
            needed: 1 << 30,
        };
        let image = ImageShape {
            layers: vec![
                layer("/my images/base", 0, 1_737_758, 1_737_758, zfile(3_657_728)),
                layer("/upper.tar", 1536, 218_135, 220_672, zfile(1_069_056)),
                layer("/top", 0, 147_456, 147_456, Form::Raw),
            ],
            virtual_size: 16 << 20,
        };
        let wish = Wish {
            name: "image".into(),
            direct_io: true,
            share: true,
            store: None,
        };
        let text = script(&image, &plan(&image, &wish));
        for line in [
            "tail -c +1737729 '/my images/base' | head -c 30 >\"$end1\"",
            "truncate -s 512 \"$end1\"",
            "loop0=$(losetup --read-only --find --show --direct-io=on --sizelimit 1737728 \
             '/my images/base')",
            "loop2=$(losetup --read-only --find --show --direct-io=on --offset 1536 \
             --sizelimit 218624 /upper.tar)",
            "3394 1 linear $loop1 0\"",
            "zfile_target $loop2 218135\"",
            " $loop3 147456\"",
            "# dmsetup remove image",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let last = text.lines().last().unwrap();
        assert_eq!(last, "# losetup --detach $loop0");
    }

    #[test]
    fn a_layer_that_is_there_twice_is_made_once() {
        let layer = LayerShape {
            path: "/base".into(),
            remote: false,
            key: Key::of(&["base"]),
            offset: 0,
            len: 10_240,
            file_len: 10_240,
            form: Form::Zfile {
                content_len: 1 << 20,
                needed: 10_240,
            },
        };
        let image = ImageShape {
            layers: vec![layer.clone(), layer],
            virtual_size: 1 << 20,
        };
        let wish = Wish {
            name: "image".into(),
            direct_io: false,
            share: true,
            store: None,
        };
        let text = script(&image, &plan(&image, &wish));
        assert_eq!(text.matches("losetup --read-only").count(), 1, "{text}");
        assert!(!text.contains("direct-io"));
    }
}
