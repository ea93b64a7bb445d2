# SPDX-License-Identifier: GPL-2.0
"""Makes the images that are measured, of real files of this machine, and keeps them.

The files are chosen by size and name alone, so a run on the same machine takes the same ones. All
OverlayBD images are made by the project's own writers (mkimage), the others by the tools of their
file systems. Nothing here is timed.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
MIB = 1 << 20

# Where the files come from: programs, libraries, and what they bring along.
SOURCES = ("/usr/bin", "/usr/lib", "/usr/share")

# Which images a group needs.
GROUPS = {
    "zfile": ("lz4-4k", "ext4", "verity"),
    "verify": ("lz4-4k", "lz4-4k-crc"),
    "blocks": ("lz4-16k", "lz4-64k"),
    "zstd": ("zstd-64k", "sample-zstd-64k"),
    "decompress": ("sample-lz4-4k", "sample-lz4-16k", "sample-lz4-64k"),
    "lsmt": ("segments.0", "segments.1"),
    "create": ("million", "million-old", "lz4-4k", "lz4-16k", "lz4-64k", "zstd-64k"),
    "stack": ("list", "list-large", "ext4", "layer3.0", "layer3.1", "layer3.2", "layer1.0", "erofs-4k", "erofs-64k",
              "squashfs-4k", "squashfs-128k"),
}


class Failure(Exception):
    """An image could not be made."""


def needed(groups):
    """The images of these groups; the uncompressed one also says how long the others' content is."""
    return list(dict.fromkeys(["ext4"] + [image for group in groups for image in GROUPS.get(group, ())]))


@functools.cache
def programs():
    """The folder of the set of programs `bench` of qemu/packages."""
    found = subprocess.run([TOP / "qemu/packages", "--print-dir", "bench"], stdout=subprocess.PIPE, text=True,
                           check=False)
    if found.returncode:
        raise Failure("the programs to measure with are not there: run `qemu/packages bench`")
    return Path(found.stdout.strip())


def search_path():
    """PATH with these programs alone: the images must be the same whatever the machine has."""
    return f"{programs()}/usr/sbin:{programs()}/usr/bin"


def run(*command, quiet=True):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE if quiet else None,
                          stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, "PATH": search_path()})
    if done.returncode:
        raise Failure(f"{command[0]}: {done.stderr.strip() or 'failed'}")
    return (done.stdout or "").strip()


def choose(want):
    """Regular files of about `want` bytes in all: of those in SOURCES, ordered by size and name, every
    n-th, so that large and small ones are among them as they are on the machine."""
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
                # Regular files (not links to them) that anyone may read.
                if stat.st_mode & 0o170004 == 0o100004 and 0 < stat.st_size <= want // 8:
                    found.append((stat.st_size, path))
    found.sort()
    total = sum(size for size, _ in found)
    step = max(1, total // want)
    chosen = found[step - 1::step]
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
        raise Failure(f"{', '.join(SOURCES)} hold too few files: {total // MIB} MiB of {want // MIB} were found")
    return total


def pad(path):
    """Ramdisks are written in whole pages."""
    size = os.path.getsize(path)
    os.truncate(path, -(-size // 4096) * 4096)
    return size


class Maker:
    """One folder of images; what is there already is taken as it is."""

    def __init__(self, folder, mkimage, blkcheck, quick, say):
        self.folder, self.mkimage, self.blkcheck, self.quick, self.say = folder, mkimage, blkcheck, quick, say
        self.files_bytes = (96 if quick else 640) * MIB

    def path(self, name):
        return self.folder / name

    def get(self, name):
        """The facts of an image: where it is, its length, what it holds."""
        facts = self.folder / f"{name}.json"
        if not facts.exists():
            self.say(f"making {name}")
            made = self.make(name)
            made["path"] = str(self.path(made.get("file", name)).resolve())
            facts.write_text(json.dumps(made))
        return json.loads(facts.read_text())

    def make(self, name):
        kind = re.split(r"[-.]", name)[0]
        return {"files": self.files, "ext4": self.ext4, "verity": self.verity, "segments": self.segments,
                "layer1": self.layer, "layer3": self.layer, "million": self.million, "sample": self.sample, "erofs": self.erofs,
                "squashfs": self.squashfs, "list": self.file_list}.get(kind, self.zfile)(name)

    def files(self, _):
        return {"bytes": copy_files(self.path("files"), self.files_bytes)}

    def file_list(self, name):
        """The paths of the files, in order, relative to where they are; list-large: of 1 MiB or more."""
        self.get("files")
        folder = self.path("files")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if name == "list-large":
            paths = [path for path in paths if path.stat().st_size >= MIB]
        self.path(name).write_text("".join(f"{path.relative_to(folder)}\n" for path in paths))
        return {"bytes": self.path(name).stat().st_size}

    def ext4(self, _):
        self.get("files")
        path = self.path("ext4")
        path.unlink(missing_ok=True)
        # A read-only image needs no journal and no room to grow; the seeds make it the same each time.
        used, files = (int(run("du", "-s", *what, self.path("files")).split()[0])
                       for what in (("-B", "4096"), ("--inodes",)))
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-N", files + 64,
            "-O", "^has_journal,^resize_inode", "-U", "6f766c79-6264-4e00-8000-000000000001",
            "-E", "root_owner=0:0,hash_seed=6f766c79-6264-4e00-8000-000000000002",
            "-d", self.path("files"), path, f"{(used + files // 8 + 2048) * 4}k")
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
        command = [self.mkimage, "zfile", self.path(name), "--content", content["path"], "--block-size",
                   int(size[:-1]) * 1024]
        command += ["--zstd"] if algorithm == "zstd" else []
        command += [] if crc else ["--no-verify"]
        run(*command)
        return {"bytes": pad(self.path(name)), "content": content["bytes"]}

    def layer(self, name):
        """The ext4 image as layers, each in a ZFile: layerCOUNT.NUMBER."""
        prefix = name.split(".")[0]
        content = self.get("ext4")
        lines = run(self.mkimage, "split", self.path(prefix), "--content", content["path"], "--layers",
                    prefix.removeprefix("layer"), "--no-verify").splitlines()
        return self.several(prefix, [line.split()[1] for line in lines])

    def segments(self, _):
        count = 10_000 if self.quick else 100_000
        *_, total = run(self.mkimage, "segments", self.path("segments"), "--segments", count, "--layers", 2).splitlines()
        return self.several("segments", [total] * 2)

    def several(self, prefix, contents):
        """Facts of images that were made together; asked for one, all are there."""
        facts = [{"bytes": pad(self.path(f"{prefix}.{n}")), "content": int(content),
                  "path": str(self.path(f"{prefix}.{n}").resolve())} for n, content in enumerate(contents)]
        for n, fact in enumerate(facts):
            (self.folder / f"{prefix}.{n}.json").write_text(json.dumps(fact))
        return facts[0]

    def million(self, name):
        """A ZFile of a million blocks of zeros: what matters is its index, and whether that has a checksum."""
        blocks = 1_000_000
        run(self.mkimage, "zfile", self.path(name), "--zeros", blocks * 4096, "--no-verify",
            *(["--no-digest"] if name.endswith("-old") else []))
        return {"bytes": pad(self.path(name)), "content": blocks * 4096, "blocks": blocks}

    def sample(self, name):
        """A ZFile of stretches of 64 KiB from all over the image that are not zero."""
        _, algorithm, size = name.split("-")
        content = self.get("ext4")
        stretch, want = 64 << 10, (8 if self.quick else 64) * MIB
        parts = []
        with open(content["path"], "rb") as file:
            for at in range(0, content["bytes"] - stretch, max(stretch, content["bytes"] * stretch // want)):
                file.seek(at // stretch * stretch)
                part = file.read(stretch)
                if part.count(0) < stretch // 2:
                    parts.append(part)
        path = self.path(name)
        sample = self.path(f"{name}.content")
        sample.write_bytes(b"".join(parts))
        block_size = int(size[:-1]) * 1024
        run(self.mkimage, "zfile", path, "--content", sample, "--block-size", block_size, "--no-verify",
            *(["--zstd"] if algorithm == "zstd" else []))
        sample.unlink()
        # Not padded: its index is found from the end.
        return {"bytes": path.stat().st_size, "block_size": block_size, "zstd": algorithm == "zstd",
                "blocks": len(parts) * stretch // block_size}

    def erofs(self, name):
        """The same files; clusters of 4 KiB or more, what the format calls physical clusters."""
        self.get("files")
        path = self.path(name)
        path.unlink(missing_ok=True)
        kib = int(name.split("-")[1][:-1])
        run("mkfs.erofs", "--quiet", "-T0", "-zlz4", f"-C{kib << 10}", "-U6f766c79-6264-4e00-8000-000000000003", path,
            self.path("files"))
        return {"bytes": pad(path)}

    def squashfs(self, name):
        self.get("files")
        path = self.path(name)
        path.unlink(missing_ok=True)
        run("mksquashfs", self.path("files"), path, "-comp", "lz4", "-b", name.split("-")[1].upper(), "-noappend",
            "-quiet", "-no-progress", "-no-xattrs", "-all-root", "-mkfs-time", "0")
        return {"bytes": pad(path)}


def writers():
    """What the images depend on besides the machine's files: the sources of who writes them."""
    sources = [HERE / "images.py", TOP / "tests/tools/src/bin/mkimage.rs", *sorted((TOP / "tests/image/src").glob("*.rs"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def prepare(folder, mkimage, blkcheck, names, quick, say):
    """The facts of these images, which are made first if they are not there."""
    key = folder / "writers"
    if folder.exists() and not (key.exists() and key.read_text() == writers()):
        say("the images were made by other writers: making them anew")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key.write_text(writers())
    maker = Maker(folder, mkimage, blkcheck, quick, say)
    return {name: maker.get(name) for name in names}
