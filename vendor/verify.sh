#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
#     sh vendor/verify.sh [--download]
#
# Says whether vendor/lz4_flex is the published crate with the patches in vendor/patches, byte for
# byte: it takes the patches back in a copy, and compares the checksum of every file with
# vendor/lz4_flex.sha256. That list is of the published crate; with --download Cargo downloads the
# crate, and the copy is compared with it. Never changes anything in the tree.
set -eu

version=0.14.0
checksum=ecbdfe44b1bd960b68170b417450a628c43f7cf56bb3c5317e61cb230ee7f226
here=$(cd "$(dirname "$0")" && pwd)

case $#${1:-} in
0 | 1--download) ;;
*)
	echo "usage: sh vendor/verify.sh [--download]" >&2
	exit 2
	;;
esac

fail() {
	echo "verify: $1" >&2
	exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# unpatch TREE: takes the patches back, the last one first.
unpatch() {
	find "$here/patches" -name '*.patch' | sort -r >"$scratch/patches"
	while read -r patch; do
		(cd "$1" && GIT_CEILING_DIRECTORIES=$scratch git apply --reverse "$patch") ||
			return 1
	done <"$scratch/patches"
}

# published TREE: whether it has the files of the published crate, no others, and the link.
published() {
	(cd "$1" && sha256sum --check --quiet --strict "$here/lz4_flex.sha256") || return 1
	(cd "$1" && find . -type f ! -name '*.o' ! -name '.*.cmd' ! -name '*.d' | sort) \
		>"$scratch/found"
	sed 's/^[0-9a-f]*  //' "$here/lz4_flex.sha256" | sort | diff - "$scratch/found" || return 1
	# The one file added here, see vendor/README.md.
	[ "$(cd "$1" && find . -type l)" = ./src/lz4_flex.rs ] &&
		[ "$(readlink "$1/src/lz4_flex.rs")" = lib.rs ]
}

# -P copies the link as a link.
cp -RP "$here/lz4_flex" "$scratch/tree"
unpatch "$scratch/tree" ||
	fail "vendor/lz4_flex is not what the patches lead to: one cannot be taken back, see above"
published "$scratch/tree" ||
	fail "vendor/lz4_flex without its patches is not the published crate, see above"

# A check that would accept anything is worthless: a changed byte, file or link must be found.
for change in "printf x >>src/fastcpy.rs" "touch src/new.rs" "rm src/lz4_flex.rs" "rm LICENSE"; do
	rm -rf "$scratch/changed"
	cp -RP "$scratch/tree" "$scratch/changed"
	(cd "$scratch/changed" && sh -c "$change")
	! published "$scratch/changed" >"$scratch/said" 2>&1 ||
		fail "this check does not find: $change"
done

if [ $# = 1 ]; then
	mkdir "$scratch/src" "$scratch/home"
	: >"$scratch/src/lib.rs"
	cat >"$scratch/Cargo.toml" <<END
[package]
name = "verify"
edition = "2021"
[dependencies]
lz4_flex = { version = "=$version", default-features = false }
END
	CARGO_HOME="$scratch/home" cargo fetch --quiet --manifest-path "$scratch/Cargo.toml" ||
		fail "Cargo could not download lz4_flex $version; check the network, try again"
	crate=$(find "$scratch/home" -name "lz4_flex-$version.crate")
	echo "$checksum  $crate" | sha256sum --check --quiet ||
		fail "the downloaded crate is not the one vendor/README.md names"
	mkdir "$scratch/unpacked"
	tar -xzf "$crate" -C "$scratch/unpacked"
	published_crate=$scratch/unpacked/lz4_flex-$version
	ln -s lib.rs "$published_crate/src/lz4_flex.rs"
	# A kernel build leaves its objects beside the sources.
	diff -r --no-dereference -x '*.o' -x '.*.cmd' -x '*.d' "$published_crate" "$scratch/tree" ||
		fail "vendor/lz4_flex without its patches differs from the download, see above"
fi
echo "vendor/lz4_flex is lz4_flex $version as published, with $(wc -l <"$scratch/patches") patches"
