# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Where the cache is and which compilers build the kernels and the module: sourced by every bash
# script of the project. It only names things; it installs nothing and builds nothing.
#
# Kernel, module and clippy must come from one rustc. It is named by path because a rustup proxy
# may be first on PATH, and a rustup toolchain has no `core` sources beside it as a rule.

# Everything that outlives a clone: kernel sources, built kernels, bindgen, the KVM probe's answer.
OVERLAYBD_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dm-overlaybd

# The major version of clang, lld and llvm; LLVM=-19 makes Kbuild use clang-19, ld.lld-19, ...
LLVM_MAJOR=19

RUSTC=/usr/bin/rustc
RUSTDOC=/usr/bin/rustdoc
RUSTFMT=/usr/bin/rustfmt
CARGO=/usr/bin/cargo
CLIPPY_DRIVER=/usr/bin/clippy-driver

# What the kernel asks for: the smallest rustc and bindgen of scripts/min-tool-version.sh.
RUSTC_MIN=1.85.0
BINDGEN_MIN=0.71.1

# Debian's bindgen is older than that, so this one is built into the cache.
BINDGEN_VERSION=0.73.2
BINDGEN_ROOT=$OVERLAYBD_CACHE/tools/bindgen-$BINDGEN_VERSION

die() {
	printf '%s: error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

say() {
	printf '==> %s\n' "$*"
}

# version_ge A B: is the dotted version A at least B?
version_ge() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# The version in "rustc 1.96.0 (…)" or "bindgen 0.73.2"; nothing when the tool is not there.
tool_version() {
	"$1" --version 2>/dev/null | sed -n '1s/^[a-z-]* \([0-9][0-9.]*\).*/\1/p'
}

# Prints the bindgen to use; fails when there is none that is new enough.
find_bindgen() {
	local candidate version
	for candidate in "$BINDGEN_ROOT/bin/bindgen" "$(command -v bindgen || true)"; do
		[ -n "$candidate" ] || continue
		version=$(tool_version "$candidate") || continue
		if [ -n "$version" ] && version_ge "$version" "$BINDGEN_MIN"; then
			printf '%s\n' "$candidate"
			return 0
		fi
	done
	return 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root: run it as root or install sudo ($*)"
	fi
}
