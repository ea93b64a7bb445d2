# SPDX-License-Identifier: GPL-2.0
"""Creates the images to measure from real files of the host, and keeps them.

The files are chosen by size and name alone, so each run on a host chooses the same ones. mkimage,
which is the project's own writer, writes all OverlayBD images; the tools of the file systems write
the others. Nothing here is timed.
"""

import hashlib
import json
import os
import re
import shutil
from functools import partial
from pathlib import Path

import scale_images
from runner.host import Failure, output_or_fail, programs, say

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
MIB = 1 << 20

# The folders of the files: programs, libraries and their data.
SOURCES = ("/usr/bin", "/usr/lib", "/usr/share")

# Images of the small Debian, for programs that start, as in dm-overlaybd, EROFS, squashfs and ext4.
COLD = tuple(
    f"cold-{name}"
    for name in (
        "ext4",
        "layer3.0",
        "layer3.1",
        "layer3.2",
        "erofs-4k",
        "erofs-hc-64k",
        "squashfs-4k",
        "squashfs-128k",
        "squashfs-zstd-128k",
    )
)

# The images that a group needs.
GROUPS = {
    "zfile": ("lz4-4k", "ext4", "verity"),
    "devices": ("lz4-4k", "ext4", "verity"),
    "verify": ("lz4-4k", "lz4-4k-crc"),
    "blocks": ("lz4-16k", "lz4-64k"),
    "zstd": ("zstd-64k", "sample-zstd-64k"),
    "decompress": ("sample-lz4-4k", "sample-lz4-16k", "sample-lz4-64k"),
    "lsmt": ("segments.0", "segments.1"),
    "create": ("million", "million-old", "lz4-4k", "lz4-16k", "lz4-64k", "zstd-64k"),
    "stack": (
        "list",
        "list-large",
        "ext4",
        "layer3.0",
        "layer3.1",
        "layer3.2",
        "layer1.0",
        "erofs-4k",
        "erofs-64k",
        "erofs-hc-4k",
        "erofs-hc-64k",
        "squashfs-4k",
        "squashfs-128k",
        "squashfs-zstd-128k",
    ),
    "cold": (*COLD, "cold-disk"),
    "loops": ("list", "list-large", "layer3.0", "layer3.1", "layer3.2", "disk"),
    "cpus": ("lz4-4k", "ext4"),
    "peer": ("ext4", "list", "layer3.0", "layer3.1", "layer3.2"),
    "scale": ("crowd-content", *(f"crowd.{n}" for n in range(10)), "deep"),
}

# The images that a group also needs as files, each in a file system of its own.
FILES = {"stack": ("erofs-4k", "erofs-64k")}


def needed(groups):
    """The images of these groups, and ext4, whose length is that of the others' content."""
    return list(
        dict.fromkeys(["ext4"] + [image for group in groups for image in GROUPS.get(group, ())])
    )


def search_path():
    """PATH with the programs of the set `bench` alone: the images are the same on every host."""
    root = programs("bench")
    return f"{root}/usr/sbin:{root}/usr/bin"


def run(*command):
    return output_or_fail(*command, env={**os.environ, "PATH": search_path()})


def choose(want):
    """Regular files of about `want` bytes in all: every n-th file of SOURCES, ordered by size and
    name. So they have the same distribution of sizes as on the host."""
    found = []
    for source in SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in names:
                path = os.path.join(folder, name)
                try:
                    stat = os.lstat(path)
                except OSError:
                    continue
                # Regular files, not links, that all users may read.
                if stat.st_mode & 0o170004 == 0o100004 and 0 < stat.st_size <= want // 8:
                    found.append((stat.st_size, path))
    found.sort()
    total = sum(size for size, _ in found)
    step = max(1, total // want)
    chosen = found[step - 1 :: step]
    return [path for _, path in chosen]


def copy_files(folder, want):
    shutil.rmtree(folder, ignore_errors=True)
    total = 0
    for path in choose(want):
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        total += target.stat().st_size
    if total < want * 3 // 4:
        raise Failure(
            f"{', '.join(SOURCES)} hold too few files: "
            f"{total // MIB} MiB of {want // MIB} were found"
        )
    return total


def pad(path):
    """Pads an image to whole pages, in which ramdisks are written. Returns the length before."""
    size = os.path.getsize(path)
    os.truncate(path, -(-size // 4096) * 4096)
    return size


class Maker:
    """A folder of images. An image that is there already is used as it is."""

    def __init__(self, folder, mkimage, blkcheck, quick):
        self.folder, self.mkimage, self.blkcheck, self.quick = folder, mkimage, blkcheck, quick
        self.files_bytes = (96 if quick else 640) * MIB

    def path(self, name):
        return self.folder / name

    def get(self, name):
        """The facts of an image: its path, its length, the length of its content."""
        facts = self.folder / f"{name}.json"
        if not facts.exists():
            say(f"making {name}")
            made = self.make(name)
            made.setdefault("path", str(self.path(name).resolve()))
            facts.write_text(json.dumps(made))
        return json.loads(facts.read_text())

    def make(self, name):
        kind = re.split(r"[-.]", name)[0]
        return {
            "files": self.files,
            "ext4": self.ext4,
            "verity": self.verity,
            "segments": self.segments,
            "layer1": self.layer,
            "crowd": partial(scale_images.crowd, self),
            "deep": partial(scale_images.deep, self),
            "layer3": self.layer,
            "million": self.million,
            "sample": self.sample,
            "erofs": self.erofs,
            "squashfs": self.squashfs,
            "list": self.file_list,
            "cold": self.cold,
            "disk": self.disk,
        }.get(kind, self.zfile)(name)

    def files(self, _):
        return {"bytes": copy_files(self.path("files"), self.files_bytes)}

    def tree(self):
        """The folder with the files of all images."""
        self.get("files")
        return self.path("files")

    def cold(self, name):
        """cold-NAME: the image NAME of the small Debian, in a folder of its own."""
        folder = self.path(programs("root").name)
        folder.mkdir(exist_ok=True)
        return Debian(folder, self.mkimage, self.blkcheck, self.quick).get(
            name.removeprefix("cold-")
        )

    def file_list(self, name):
        """The sorted paths of the files in their folder; list-large: those of 1 MiB or more."""
        folder = self.tree()
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if name == "list-large":
            paths = [path for path in paths if path.stat().st_size >= MIB]
        self.path(name).write_text("".join(f"{path.relative_to(folder)}\n" for path in paths))
        return {"bytes": self.path(name).stat().st_size}

    def ext4(self, name):
        return self.ext4_of(name, self.tree())

    # The images that are also files of an ext4, over which loop devices are set up.
    on_disk = ("layer3.0", "layer3.1", "layer3.2")

    def disk(self, name):
        folder = self.path("disk.files")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for image in self.on_disk:
            os.link(self.get(image)["path"], folder / image)
        return self.ext4_of(name, folder)

    def ext4_of(self, name, tree):
        path = self.path(name)
        path.unlink(missing_ok=True)
        # A read-only image needs no journal and no room to grow. The fixed seeds make it
        # reproducible.
        used, files = (
            int(run("du", "-s", *what, tree).split()[0])
            for what in (("-B", "4096"), ("--inodes",))
        )
        run(
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-I",
            "256",
            "-m",
            "0",
            "-N",
            files + 64,
            "-O",
            "^has_journal,^resize_inode",
            "-U",
            "6f766c79-6264-4e00-8000-000000000001",
            "-E",
            "root_owner=0:0,hash_seed=6f766c79-6264-4e00-8000-000000000002",
            "-d",
            tree,
            path,
            f"{(used + files // 8 + 2048) * 4}k",
        )
        return {"bytes": path.stat().st_size}

    def verity(self, _):
        self.get("ext4")
        path = self.path("verity")
        root = run(self.blkcheck, "verity", self.path("ext4"), path)
        pad(path)
        return {"bytes": path.stat().st_size, "root": root.split()[-1]}

    def zfile(self, name):
        """ALGORITHM-SIZEk[-crc] of the ext4 image."""
        algorithm, size, *crc = name.split("-")
        content = self.get("ext4")
        command = [
            self.mkimage,
            "zfile",
            self.path(name),
            "--content",
            content["path"],
            "--block-size",
            int(size[:-1]) * 1024,
        ]
        command += ["--zstd"] if algorithm == "zstd" else []
        command += [] if crc else ["--no-verify"]
        run(*command)
        return {"bytes": pad(self.path(name)), "content": content["bytes"]}

    def layer(self, name):
        """The ext4 image as layers, each in a ZFile: layerCOUNT.NUMBER."""
        prefix = name.split(".")[0]
        content = self.get("ext4")
        lines = run(
            self.mkimage,
            "split",
            self.path(prefix),
            "--content",
            content["path"],
            "--layers",
            prefix.removeprefix("layer"),
            "--no-verify",
        ).splitlines()
        return self.several(prefix, [line.split()[1] for line in lines])

    def segments(self, _):
        count = 10_000 if self.quick else 100_000
        *_, total = run(
            self.mkimage, "segments", self.path("segments"), "--segments", count, "--layers", 2
        ).splitlines()
        return self.several("segments", [total] * 2)

    def several(self, prefix, contents):
        """Writes the facts of images that one command has written; returns those of the first."""
        facts = [
            {
                "bytes": pad(self.path(f"{prefix}.{n}")),
                "content": int(content),
                "path": str(self.path(f"{prefix}.{n}").resolve()),
            }
            for n, content in enumerate(contents)
        ]
        for n, fact in enumerate(facts):
            (self.folder / f"{prefix}.{n}.json").write_text(json.dumps(fact))
        return facts[0]

    def million(self, name):
        """A ZFile of a million blocks of zeros, whose index has a checksum or not."""
        blocks = 1_000_000
        run(
            self.mkimage,
            "zfile",
            self.path(name),
            "--zeros",
            blocks * 4096,
            "--no-verify",
            *(["--no-digest"] if name.endswith("-old") else []),
        )
        return {"bytes": pad(self.path(name)), "content": blocks * 4096, "blocks": blocks}

    def sample(self, name):
        """A ZFile of stretches of 64 KiB from all over the image that are not mostly zero."""
        _, algorithm, size = name.split("-")
        content = self.get("ext4")
        stretch, want = 64 << 10, (8 if self.quick else 64) * MIB
        parts = []
        with open(content["path"], "rb") as file:
            for at in range(
                0, content["bytes"] - stretch, max(stretch, content["bytes"] * stretch // want)
            ):
                file.seek(at // stretch * stretch)
                part = file.read(stretch)
                if part.count(0) < stretch // 2:
                    parts.append(part)
        path = self.path(name)
        sample = self.path(f"{name}.content")
        sample.write_bytes(b"".join(parts))
        block_size = int(size[:-1]) * 1024
        run(
            self.mkimage,
            "zfile",
            path,
            "--content",
            sample,
            "--block-size",
            block_size,
            "--no-verify",
            *(["--zstd"] if algorithm == "zstd" else []),
        )
        sample.unlink()
        # Not padded: the trailer, by which the index is found, must be at the end.
        return {
            "bytes": path.stat().st_size,
            "block_size": block_size,
            "zstd": algorithm == "zstd",
            "blocks": len(parts) * stretch // block_size,
        }

    def erofs(self, name):
        """The same files in EROFS, erofs[-hc]-SIZEk: with physical clusters of that size or more,
        compressed by the fast LZ4 or the thorough one."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        *thorough, size = name.split("-")[1:]
        kib = int(size[:-1])
        run(
            "mkfs.erofs",
            "--quiet",
            "-T0",
            f"-zlz4{''.join(thorough)}",
            f"-C{kib << 10}",
            "-U6f766c79-6264-4e00-8000-000000000003",
            path,
            self.tree(),
        )
        return {"bytes": pad(path)}

    def squashfs(self, name):
        """The same files in squashfs, squashfs[-zstd]-SIZEk."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        *algorithm, size = name.split("-")[1:]
        run(
            "mksquashfs",
            self.tree(),
            path,
            "-comp",
            *(algorithm or ["lz4"]),
            "-b",
            size.upper(),
            "-noappend",
            "-quiet",
            "-no-progress",
            "-no-xattrs",
            "-all-root",
            "-mkfs-time",
            "0",
        )
        return {"bytes": pad(path)}


class Debian(Maker):
    """The images of the set of programs `root`. Nothing is copied: the set is their source."""

    on_disk = (*Maker.on_disk, "erofs-4k")

    def tree(self):
        return programs("root")


def writers():
    """A hash of the sources of the writers, on which the images depend besides the host's files."""
    sources = [
        HERE / "images.py",
        HERE / "scale_images.py",
        TOP / "tests/tools/src/bin/mkimage.rs",
        *sorted((TOP / "tests/image/src").glob("*.rs")),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def prepare(folder, mkimage, blkcheck, names, quick):
    """The facts of these images. Writes the images that are not there."""
    key = folder / "writers"
    if folder.exists() and not (key.exists() and key.read_text() == writers()):
        say("the images were made by other writers: making them anew")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key.write_text(writers())
    maker = Maker(folder, mkimage, blkcheck, quick)
    return {name: maker.get(name) for name in names}
