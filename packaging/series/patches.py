# SPDX-License-Identifier: GPL-2.0
"""The patches of the series: which files each adds, and its message.

A path is a shell pattern, whose `*` also matches `/`. It starts at drivers/md/overlaybd, or with a
`/` at the top of the kernel's source. A path that begins with `!` takes away what the others match.
A file that grows over several patches belongs to the first of them; rules.py says what it lacks
until the others.
"""

from dataclasses import dataclass

# Files of `format` that only tests use: testing.rs and tests.rs in any folder.
TESTS = "format/src/*test*.rs"


@dataclass(frozen=True)
class Patch:
    """One patch; `name` is what rules.py calls it."""

    name: str
    subject: str
    paths: tuple[str, ...]
    body: str


PATCHES = (
    Patch(
        "units",
        "add the units of the on-disk format, and an empty module",
        (
            "/drivers/md/Kconfig",
            "/drivers/md/Makefile",
            "Kbuild",
            "Kbuild.crates",
            "Kconfig",
            "src/dm_overlaybd.rs",
            "format/src/overlaybd_format.rs",
            "format/src/arith.rs",
            "format/src/convert.rs",
            "format/src/output.rs",
            "format/src/units.rs",
        ),
        """\
OverlayBD is a format of container images: an image is a stack of
layers, each of them extents of a block device, compressed block by
block. The targets of this series read such images.

The crate overlaybd_format will interpret the bytes of an image. It has
no allocation, no I/O and no unsafe code, and also compiles on the host,
where its tests and fuzz targets run. Its units come first, because the
abstractions of the next patches count in them: a sector, a number of
sectors and a number of bytes are different types, so the compiler
refuses to mix them. Arithmetic on them is checked and never panics.

Add the module and its Kconfig entry too, so that each patch builds.
Code without a caller is allowed until the last target is there.
""",
    ),
    Patch(
        "bindings",
        "add bindings to device-mapper and C helpers",
        ("src/bindings.rs", "src/bindings/*"),
        """\
The kernel crate binds neither device-mapper nor mempools. Generate
these bindings from the headers when the module is built, because the
structures of device-mapper change between releases. All types that
kernel::bindings has are taken from there.

helpers.c has a function for each macro and static inline that the
wrappers of the next patches call. Each is one call, and has the name of
what it calls after the prefix dm_overlaybd_. Checks that need state do
not belong here.
""",
    ),
    Patch(
        "sys",
        "add safe types over memory, locks and workqueues",
        ("src/sys.rs", "src/sys/*"),
        """\
The read path needs what the kernel crate does not have yet: a mempool,
a kmalloc that never waits, a spinlock that interrupts take, a workqueue
with a rescuer and work items that live in memory of device-mapper, and
arrays whose allocation fails instead of waking the OOM killer. It also
needs the kernel's CRC-32C and ZSTD.

Each file wraps one facility and holds no policy. Nothing here knows
bios, device-mapper or images.
""",
    ),
    Patch(
        "block",
        "add safe types over bios and queue limits",
        ("src/block.rs", "src/block/*"),
        """\
The block layer's Rust code covers blk-mq drivers. A driver that works
on bios needs to take one, write its data and end it, and to submit bios
of its own.

A type owns a bio that was taken. It is consumed by the call that ends
the bio, so a bio ends once, in one place. The data is written through a
cursor that counts, so a bio that is not filled cannot end as good. Data
is reached through the direct map, hence the dependency on !HIGHMEM.

Nothing here knows device-mapper or images.
""",
    ),
    Patch(
        "dm",
        "add safe types over device-mapper targets",
        ("src/dm.rs", "src/dm/*"),
        """\
A target type is an implementation of the trait Target: ctr, map,
status, iterate_devices and io_hints. The callbacks of a target get
&self, because device-mapper calls map on all CPUs at once. A
constructor returns a typed error, which the callback logs once. The
values that map may return are created only by the calls that dispose of
the bio, so a bio cannot be both ended and remapped.

An RFC of June 2023 had one file for device-mapper and bios and passed
&mut Target to map. The reviewers asked for split patches, bios
elsewhere, and invariants stated on types; this follows them.

Nothing here knows images.

Link: https://lore.kernel.org/r/20230625121657.3631109-1-changxian.cqs@antgroup.com
""",
    ),
    Patch(
        "lz4",
        "import the crate lz4_flex",
        ("vendor/lz4_flex/*",),
        """\
It decompresses LZ4 blocks. An image is untrusted input, and this
decoder is safe Rust without allocation; its cost compared to the
kernel's decoder is in the cover letter.

These files are the published crate's, version 0.14.0, with one symbolic
link that names its root after the crate, and three patches for speed,
which are for the authors of the crate. They are safe Rust too. Only the
safe block decoder is compiled.
""",
    ),
    Patch(
        "format-zfile",
        "format: add ZFile",
        (
            "format/src/error.rs",
            "format/src/fields.rs",
            "format/src/header_trailer.rs",
            "format/src/records.rs",
            "format/src/zfile.rs",
            "format/src/zfile/*",
            f"!{TESTS}",
        ),
        """\
A ZFile is a file that is compressed block by block. Header, trailer and
index describe where each block is stored. Check all of them before they
are used: each check has an error of its own, with the offending value.

The index becomes a jump table of 144 bytes for each 64 blocks, which
finds a block with one addition for each block of the group before it.
Blocks are decompressed into memory of the caller, and a block that does
not have its exact length is an error.
""",
    ),
    Patch(
        "format-lsmt",
        "format: add LSMT",
        ("format/src/lsmt.rs", "format/src/lsmt/*", f"!{TESTS}"),
        """\
An LSMT layer lists extents of the image and the place of their data in
the layer. A stack of up to 255 layers is merged once, when a table is
loaded: the topmost layer that has a sector wins. The result takes 16
bytes for each extent that is left, and a lookup does not depend on the
number of layers.

The merge runs twice, to count and to fill, so that exactly the memory
that is needed is allocated. It does not recurse.
""",
    ),
    Patch(
        "io",
        "add the read engine",
        ("src/io.rs", "src/io/*"),
        """\
Completing a bio from other bytes of a lower device takes the same steps
whatever these bytes mean: one lower read, a choice of context for the
work after it, and the end of the bio. Keep them apart from the targets.

A read allocates everything in map: per-bio data of device-mapper and
one buffer. The buffer is tried without waiting, then the bio is
shortened, down to one block, whose buffer comes from a mempool that
waits only for reads of the same device. A short read is processed where
the lower read ends, or in a softirq if that is an interrupt, a long one
on a workqueue with a rescuer. A completion that would use more than
half of a stack continues on the workqueue, so stacked targets do not
overflow it.

A block of which a bio needs only a part is decompressed once, and kept
in a small cache that is bounded for each target.
""",
    ),
    Patch(
        "image",
        "add what the constructors share",
        ("src/image.rs", "src/image/*"),
        """\
An image chooses the size of its index. Bound that memory for each
target and for all targets together, charge it to the cgroup of the task
that loads the table, and let the allocation fail rather than wake the
OOM killer. The module parameters max_index_mib and max_total_index_mib
set the limits.

A refused table is a value with one variant per check, which
device-mapper turns into ti->error and one line in the log.
""",
    ),
    Patch(
        "zfile",
        "add zfile_target",
        ("src/zfile.rs", "src/zfile/*"),
        """\
zfile_target provides the decompressed content of a ZFile as a read-only
block device:

  0 7144 zfile_target /dev/loop0 1737758

A bio becomes one lower read of all its blocks, which are decompressed
directly into the pages of the bio where they fit. A block that fails
its checksum, or does not have its exact length, fails the bios that
touch it.

map waits only for memory for one block, and declines a REQ_NOWAIT bio
instead, so the target has DM_TARGET_NOWAIT.

All code of the target is safe.
""",
    ),
    Patch(
        "lsmt",
        "add lsmt_target",
        ("src/lsmt.rs", "src/lsmt/*"),
        """\
lsmt_target merges a stack of layers into one read-only block device:

  0 32768 lsmt_target /dev/mapper/base 3657728 /dev/mapper/upper 1069056

map looks up the extent of the bio, shortens the bio to it, and remaps
it to the layer or fills it with zeroes. It neither allocates nor waits,
so the target has DM_TARGET_NOWAIT.

This is the last caller: no code is unused any more, and the compiler
checks that again.
""",
    ),
    Patch(
        "documentation",
        "document the targets",
        (
            "/Documentation/admin-guide/device-mapper/dm-overlaybd.rst",
            "/Documentation/admin-guide/device-mapper/index.rst",
            "/MAINTAINERS",
        ),
        """\
Describe tables, status lines, module parameters, memory, all refusals
of a table and what damage to an image cannot be detected. A test
compares the refusals with the code.

Add an entry for the targets to MAINTAINERS.
""",
    ),
    Patch(
        "tests",
        "format: add unit tests",
        (TESTS,),
        """\
The crate overlaybd_format does no I/O and uses nothing of the kernel,
so its tests run on the host:

  cd drivers/md/overlaybd
  rustc --edition 2021 --crate-type lib --cap-lints allow \\
        --cfg 'feature="safe-decode"' --out-dir /tmp \\
        vendor/lz4_flex/src/lz4_flex.rs
  rustc --edition 2021 --test -L /tmp --extern lz4_flex \\
        -o /tmp/format format/src/overlaybd_format.rs
  /tmp/format

Kbuild does not compile them. The cover letter names the tests that stay
out of the tree.
""",
    ),
)
