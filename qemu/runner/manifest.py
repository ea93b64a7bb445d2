# SPDX-License-Identifier: GPL-2.0
"""The images of a guest, and their manifest as tables that a shell reads."""

import json
import lzma
import os
import shlex
import shutil
from pathlib import Path

from .host import TOP, Failure, say

FIXTURES = TOP / "tests/fixtures"

# The columns of each table.
TABLES = {
    "zfiles": "file container payload_offset payload_bytes algo block_size verify "
    "header_overwritten content_bytes content_sha256",
    "layers": "file container payload_offset payload_bytes zfile algo block_size verify "
    "header_overwritten content_bytes",
    "stacks": "virtual_size sha256 merged_segments layers",
    "malformed": "file kind bytes want reference_reader content_bytes content_sha256",
}


def image_source():
    """The folder of the full set of reference images if it is there, else of the fixtures."""
    given = os.environ.get("OVERLAYBD_IMAGES")
    for folder in [given] if given else [TOP / "../shared/images", FIXTURES]:
        if (Path(folder) / "manifest.json").is_file():
            return Path(folder).resolve()
    raise Failure(f"no images: neither ../shared/images nor {FIXTURES} holds a manifest.json")


def say_which(images):
    """Names the set of images, on which depends what cases can check."""
    manifest = json.loads((images / "manifest.json").read_text())
    counts = ", ".join(
        f"{len(rows)} {name}" for name, rows in manifest.items() if isinstance(rows, list)
    )
    which_set = (
        "the part of the set that the repository has"
        if images == FIXTURES
        else "the set in " + str(images)
    )
    say(f"images: {which_set} ({counts})")


def add_images(source, target, whole_sectors):
    """Copies the images, decompresses those kept compressed, and writes the tables. A loop device
    ends at the last whole sector of its file: with whole_sectors each copy is padded to whole
    sectors.
    """
    copy_images(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    for entry in (
        entry for table in manifest.values() if isinstance(table, list) for entry in table
    ):
        for name in [entry["file"]] if "file" in entry else entry.get("layers", []):
            if not (target / name).is_file():
                raise Failure(f"{name} is in the manifest of {source} and not in that folder")
    # The lengths before padding.
    lengths = {
        path: path.stat().st_size
        for path in target.rglob("*")
        if path.is_file() and path.suffix != ".json"
    }
    for path, length in lengths.items():
        if whole_sectors:
            os.truncate(path, length + 511 & ~511)
    write_tables(manifest, target, lengths)


def copy_images(source, target):
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_dir():
            (target / relative).mkdir(exist_ok=True)
        elif path.suffix == ".xz":
            with lzma.open(path) as packed, open(target / relative.with_suffix(""), "wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copyfile(path, target / relative)


def text(value):
    """A value of the manifest as a cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def write_tables(manifest, target, lengths):
    """Writes NAME.tsv, NAME.rows and about/NAME/FILE for each table."""
    for name, columns in TABLES.items():
        # The number of rows: a case that processes all of them compares.
        (target / f"{name}.rows").write_text(f"{len(manifest.get(name, []))}\n")
        with open(target / f"{name}.tsv", "w", encoding="utf-8") as table:
            for entry in manifest.get(name, []):
                print("\t".join(text(entry.get(column)) for column in columns.split()), file=table)
                # The row again for the function `about`: reading a file is faster than starting a
                # program.
                if "file" in entry:
                    about = target / "about" / name / entry["file"]
                    about.parent.mkdir(parents=True, exist_ok=True)
                    about.write_text(
                        "".join(
                            f"of_{column}={shlex.quote(text(entry.get(column)))}\n"
                            for column in columns.split()
                        )
                        + f"of_file_bytes={lengths[target / entry['file']]}\n"
                    )
