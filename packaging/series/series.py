#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the series of patches for the kernel: packaging/series/write calls it.

    series.py SOURCE TREE FOLDER [--poster 'NAME <ADDRESS>']

SOURCE is the kernel's source, TREE has the files that are new or changed with all patches, FOLDER
gets the patches. Each patch is a commit in a repository of its own, which has only the files that
the series changes, and git format-patch writes it. Author and dates are fixed, so that the same
files give the same patches. With a poster, that is the author, signs off each patch and is the
maintainer in MAINTAINERS.

It fails when the table of patches does not fit the files: see `check_table` and `check_state`.
"""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.dont_write_bytecode = True
import rules
from patches import PATCHES, Patch

HERE = Path(__file__).resolve().parent
FOLDER = "drivers/md/overlaybd/"
AUTHOR = "The dm-overlaybd authors <dm-overlaybd@localhost>"
MAINTAINERS_BEFORE = "DEVICE-MAPPER VDO TARGET\n"
MAINTAINERS = f"""\
DEVICE-MAPPER OVERLAYBD TARGETS
L:	dm-devel@lists.linux.dev
L:	rust-for-linux@vger.kernel.org
S:	Maintained
F:	Documentation/admin-guide/device-mapper/dm-overlaybd.rst
F:	{FOLDER}

"""


class Wrong(Exception):
    """The table of patches or a rule does not fit the files."""


def require(condition: object, text: str) -> None:
    """Fails with `text` unless the condition holds."""
    if not condition:
        raise Wrong(text)


# --- the table ------------------------------------------------------------------------------------


def matches(path: str, pattern: str) -> bool:
    """Whether a path of the kernel's source matches a pattern of the table."""
    full = pattern[1:] if pattern.startswith("/") else FOLDER + pattern
    return fnmatch.fnmatchcase(path, full)


def belongs(path: str, patch: Patch) -> bool:
    """Whether a patch adds or changes a path."""
    taken_away = [pattern[1:] for pattern in patch.paths if pattern.startswith("!")]
    return any(matches(path, pattern) for pattern in patch.paths) and not any(
        matches(path, pattern) for pattern in taken_away
    )


def check_table(paths: Iterable[str], table: Iterable[Patch]) -> dict[str, str]:
    """The patch of each path: each must have one, and each pattern must match."""
    owner = {}
    for path in paths:
        owners = [patch.name for patch in table if belongs(path, patch)]
        require(owners, f"{path} belongs to no patch")
        require(len(owners) == 1, f"{path} belongs to two patches, {' and '.join(owners)}")
        owner[path] = owners[0]
    for patch in table:
        require(patch.name in owner.values(), f"the patch {patch.name} has no file")
        for pattern in patch.paths:
            require(
                pattern.startswith("!") or any(matches(path, pattern) for path in owner),
                f"the path {pattern} of the patch {patch.name} matches no file",
            )
    return owner


# --- what the tree contains after a patch ---------------------------------------------------------


def check_cuts(files: Mapping[str, str], cuts: Iterable[rules.Cut], table: Iterable[Patch]) -> None:
    """Each cut matches as often as it says, and names a patch."""
    names = [patch.name for patch in table]
    for cut in cuts:
        require(cut.until in names, f"a cut of {cut.path} names the patch {cut.until}")
        found = len(re.findall(cut.text, files[cut.path], re.M))
        require(
            found == cut.count,
            f"{cut.path}: {cut.text!r} matches {found} times, not {cut.count}",
        )


def state(files: Mapping[str, str], owner: Mapping[str, str], done: list[str]) -> dict[str, str]:
    """The files of the folder after the patches `done`. The paths start at the folder."""
    absent = {path for path in files if owner[FOLDER + path] not in done}
    return {
        path: rules.text_at(path, text, done, absent)
        for path, text in files.items()
        if path not in absent
    }


def check_state(texts: Mapping[str, str], done: list[str]) -> None:
    """Each declared module has its file, each file is declared, and tests are together."""
    wanted = set(rules.ROOTS)
    for path, text in texts.items():
        if not rules.is_ours(path):
            continue
        for name in rules.declared(text):
            child = str(rules.children(path) / f"{name}.rs")
            require(child in texts, f"after {done[-1]}, {path} declares {name} without a file")
            wanted.add(child)
        if "tests" not in done:
            require(
                not re.search(r"cfg(_attr)?\(\s*test\b|#\[test\]", text),
                f"after {done[-1]}, {path} has tests",
            )
    for path in texts:
        require(
            not rules.is_ours(path) or path in wanted,
            f"after {done[-1]}, no file declares {path}",
        )


def check_self() -> None:
    """Each of the checks above finds what it is for."""
    table = (Patch("one", "", ("src/dm_overlaybd.rs",), ""), Patch("two", "", ("src/a*",), ""))
    root, a = "src/dm_overlaybd.rs", "src/a.rs"
    files = {root: "//! | [`a`] | text |\n\nmod a;\n#[cfg(test)]\nmod b {\n    x();\n}\n", a: "\n"}
    paths = [FOLDER + path for path in files]
    owner = check_table(paths, table)
    texts = state(files, owner, ["one"])
    require(texts == {root: "\n"}, f"the rules leave {texts}")
    check_state(texts, ["one"])
    for wrong in (
        lambda: check_table([*paths, FOLDER + "src/c.rs"], table),
        lambda: check_table(paths, (*table, Patch("three", "", ("src/a.rs",), ""))),
        lambda: check_table(paths, (*table, Patch("three", "", ("src/c.rs",), ""))),
        lambda: check_state({root: "mod a;\n"}, ["one"]),
        lambda: check_state({root: "", a: ""}, ["one"]),
        lambda: check_state({root: "#[cfg(test)]\nuse x;\n"}, ["one"]),
        lambda: check_cuts(files, [rules.Cut(root, "two", "nothing")], table),
        lambda: check_cuts(files, [rules.Cut(root, "four", "mod a")], table),
    ):
        try:
            wrong()
        except Wrong:
            continue
        raise Wrong("a check of the series does not find what it is for")


# --- the repository of the series -----------------------------------------------------------------


class Repository:
    """A git repository that has only the files that the series changes."""

    def __init__(self, top: Path, author: str, date: str):
        name, address = re.fullmatch(r"(.*) <(.*)>", author).groups()
        self.top = top
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(top),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for role in ("AUTHOR", "COMMITTER"):
            self.environment |= {
                f"GIT_{role}_NAME": name,
                f"GIT_{role}_EMAIL": address,
                f"GIT_{role}_DATE": date,
            }
        self.git("init", "--quiet", "--initial-branch=series")

    def git(self, *arguments: str, text: str | None = None) -> None:
        """Runs git in the repository."""
        subprocess.run(
            ["git", *arguments],
            cwd=self.top,
            env=self.environment,
            input=text,
            text=True,
            check=True,
        )

    def put(self, path: str, content: bytes | Path) -> None:
        """Writes a file, or a symbolic link to a path."""
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            file.symlink_to(content)
        else:
            file.write_bytes(content)

    def commit(self, message: str, *options: str) -> None:
        """Commits all files."""
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--file=-", *options, text=message)


def read(file: Path) -> bytes | Path:
    """The content of a file, or where a symbolic link leads."""
    return file.readlink() if file.is_symlink() else file.read_bytes()


def decoded(content: Mapping[str, bytes | Path]) -> dict[str, str]:
    """The files of the folder as text, without symbolic links."""
    return {
        path[len(FOLDER) :]: data.decode()
        for path, data in content.items()
        if path.startswith(FOLDER) and isinstance(data, bytes)
    }


def add_entry(text: str, poster: str | None) -> str:
    """MAINTAINERS with the entry of the targets."""
    require(text.count(MAINTAINERS_BEFORE) == 1, f"MAINTAINERS has no {MAINTAINERS_BEFORE.strip()}")
    title, rest = MAINTAINERS.split("\n", 1)
    person = f"M:\t{poster}\n" if poster else ""
    return text.replace(MAINTAINERS_BEFORE, f"{title}\n{person}{rest}{MAINTAINERS_BEFORE}")


def fixed_date() -> str:
    """The date of the newest entry of the packages' changelog."""
    log = (HERE.parent / "changelog").read_text(encoding="utf-8")
    return re.search(r"^ -- .*>  (.*)$", log, re.M)[1]


def write(source: Path, tree: Path, folder: Path, poster: str | None) -> None:
    """Writes the patches into the folder."""
    content = {
        str(file.relative_to(tree)): read(file)
        for file in sorted(tree.rglob("*"))
        if file.is_symlink() or file.is_file()
    }
    entry = add_entry((source / "MAINTAINERS").read_text(encoding="utf-8"), poster)
    content["MAINTAINERS"] = entry.encode()
    owner = check_table(content, PATCHES)
    files = decoded(content)
    check_cuts(files, rules.CUTS, PATCHES)

    with tempfile.TemporaryDirectory() as top:
        repository = Repository(Path(top), poster or AUTHOR, fixed_date())
        for path in content:
            if (source / path).exists():
                repository.put(path, (source / path).read_bytes())
        repository.commit("The kernel's source\n")
        done: list[str] = []
        for patch in PATCHES:
            done.append(patch.name)
            texts = state(files, owner, done)
            check_state(texts, done)
            for path, text in texts.items():
                repository.put(FOLDER + path, text.encode())
            for path, data in content.items():
                if owner[path] == patch.name and path[len(FOLDER) :] not in texts:
                    repository.put(path, data)
            require(
                re.fullmatch(r"(?:.{,72}\n|Link: .*\n)*", patch.body),
                f"the message of {patch.name} has a line of more than 72 columns",
            )
            message = f"dm overlaybd: {patch.subject}\n\n{patch.body}"
            repository.commit(message, *(["--signoff"] if poster else []))
        for path, data in content.items():
            require(read(Path(top) / path) == data, f"the last patch leaves another {path}")

        shutil.rmtree(folder, ignore_errors=True)
        letter = (HERE / "cover-letter.txt").read_text(encoding="utf-8")
        repository.git("config", "branch.series.description", letter)
        repository.git(
            *("-c", "core.abbrev=12", "format-patch", "--quiet", "--no-signature", "--zero-commit"),
            *("--cover-letter", "--cover-from-description=subject"),
            f"--output-directory={folder.resolve()}",
            f"-{len(PATCHES)}",
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="writes the series of patches for the kernel")
    parser.add_argument("source", type=Path, help="the kernel's source")
    parser.add_argument("tree", type=Path, help="the files with all patches")
    parser.add_argument("folder", type=Path, help="where the patches are written")
    parser.add_argument("--poster", help="NAME <ADDRESS>: author, sign-off and maintainer")
    arguments = parser.parse_args()
    try:
        check_self()
        write(arguments.source, arguments.tree, arguments.folder, arguments.poster)
    except Wrong as wrong:
        sys.exit(f"series.py: error: {wrong}")


if __name__ == "__main__":
    main()
