# SPDX-License-Identifier: GPL-2.0
"""What a file of the series contains before its last patch.

A Rust file declares only modules that exist: the `mod` and `pub use` lines of the others are cut,
and their rows in the table of the file's documentation. Tests are cut until the patch `tests`. For
all else there is a Cut: an expression that matches in the complete file, and the patch that brings
the text.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

MODULE = "src/dm_overlaybd.rs"
FORMAT = "format/src/overlaybd_format.rs"
ROOTS = (MODULE, FORMAT)


@dataclass(frozen=True)
class Cut:
    """Text of `path` that is not there before the patch `until`. It occurs `count` times."""

    path: str
    until: str
    text: str
    instead: str = ""
    count: int = 1


CUTS = (
    Cut("Kbuild", "bindings", r" src/bindings/helpers\.o(?= )"),
    Cut("Kbuild", "bindings", r" \$\(obj\)/src/bindings/bindings_generated\.rs$"),
    Cut("Kbuild", "bindings", r"^CFLAGS_src/bindings/helpers\.o .*\n"),
    # The section of bindgen, which is the last one.
    Cut("Kbuild", "bindings", r"^# -{60,}\n(?s:.*)\Z"),
    Cut("Kbuild.crates", "lz4", r" vendor/lz4_flex/src/lz4_flex\.o$"),
    Cut("Kbuild.crates", "lz4", r"(?:^#.*\n)+rustflags-y \+= -Copt-level=2\n"),
    Cut("Kbuild.crates", "lz4", r"(?:^#.*\n)+RUSTFLAGS_vendor/lz4_flex\S+ (?:.*\\\n)*.*\n"),
    Cut("Kbuild.crates", "lz4", r" --extern lz4_flex(?= )"),
    Cut("Kbuild.crates", "lz4", r"^\$\(overlaybd-format\): \$\(obj\)/vendor/lz4_flex.*\n"),
    Cut("Kbuild.crates", "lz4", r" liblz4_flex\.rmeta"),
    # The table of folders and what is said of it.
    Cut(MODULE, "bindings", r"^//!\n//! \| folder(?:.*\n)*?(?=\n)"),
    Cut(MODULE, "image", r"^    params: \{\n(?: {8}.*\n)* {4}\},\n"),
    Cut(MODULE, "zfile", r"^        block_cache_kib: u32 \{\n(?: {12}.*\n)* {8}\},\n"),
    Cut(MODULE, "zfile", r"^    alias: .*\n"),
    Cut(MODULE, "zfile", r"^ +_zfile: .*\n", count=2),
    Cut(MODULE, "lsmt", r', "dm-lsmt_target"'),
    Cut(MODULE, "lsmt", r"^ +_lsmt: .*\n", count=2),
    Cut(
        MODULE,
        "lsmt",
        r"^#!\[deny\(clippy::multiple_unsafe_ops_per_block\)\]\n",
        r"\g<0>#![allow(dead_code, unused_variables)]\n",
    ),
    Cut(FORMAT, "format-zfile", r"^//! # ZFile\n(?://!.*\n)*?(?=//! # LSMT\n)"),
    Cut(FORMAT, "format-lsmt", r"^//! # LSMT\n(?://!.*\n)*"),
    Cut(FORMAT, "format-lsmt", r"^#!\[forbid\(unsafe_code\)\]\n", r"\g<0>#![allow(dead_code)]\n"),
)


def children(path: str) -> PurePosixPath:
    """The folder of the modules that a Rust file declares."""
    file = PurePosixPath(path)
    return file.parent if path in ROOTS else file.with_suffix("")


def is_ours(path: str) -> bool:
    """Whether the rules for Rust files apply."""
    return path.endswith(".rs") and path.startswith(("src/", "format/src/"))


def declared(text: str) -> list[str]:
    """The modules that a Rust file declares, each in a file of its own."""
    return re.findall(r"^(?:pub(?:\(\w+\))? )?mod (\w+);$", text, re.M)


def without_module(text: str, name: str) -> str:
    """A Rust file without a module: its declaration, what is exported of it, its documentation."""
    text = re.sub(rf"^(?:#\[.*\]\n)*(?:pub(?:\(\w+\))? )?mod {name};\n", "", text, flags=re.M)
    text = re.sub(rf"^pub(?:\(\w+\))? use {name}::[^;]*;\n", "", text, flags=re.M)
    return re.sub(rf"^//! \| \[`{name}`\] \|.*\n", "", text, flags=re.M)


def without_tests(text: str) -> str:
    """A Rust file without what is compiled for tests alone."""
    text = re.sub(r"^(?://.*\n)*#!\[cfg_attr\(\n? *test,(?:.*\n)*?\)\]\n", "", text, flags=re.M)
    kept: list[str] = []
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if line.strip() != "#[cfg(test)]":
            kept.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        while kept and kept[-1].startswith((f"{indent}//", f"{indent}#[")):
            if kept[-1].startswith(f"{indent}//!"):
                break
            kept.pop()
        # The item ends with the line that is indented as it is, and ends like an item.
        for line in lines:
            if re.match(rf"{indent}\S", line) and line.rstrip().endswith((";", "}")):
                break
    return "".join(kept)


def tidy(text: str) -> str:
    """Closes the gaps that cuts leave."""
    text = re.sub(r"^(?://!\n)+(?!//!)", "", text, flags=re.M)
    text = re.sub(r"\{\n\s*\}", "{}", text)
    text = re.sub(r"\n+(\n *\})", r"\1", text)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def text_at(path: str, text: str, done: Collection[str], absent: Collection[str]) -> str:
    """A file after the patches `done`, when the files `absent` do not exist yet."""
    cut = text
    for rule in CUTS:
        if rule.path == path and rule.until not in done:
            cut = re.sub(rule.text, rule.instead, cut, flags=re.M)
    if is_ours(path):
        if "tests" not in done:
            cut = without_tests(cut)
        for name in declared(cut):
            if str(children(path) / f"{name}.rs") in absent:
                cut = without_module(cut, name)
    return text if cut == text else tidy(cut)
