#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says whether vendor/lz4_flex is the published crate, byte for byte. Never changes anything in the
# tree: the download goes to a temporary folder.
set -eu

version=0.14.0
checksum=ecbdfe44b1bd960b68170b417450a628c43f7cf56bb3c5317e61cb230ee7f226
here=$(cd "$(dirname "$0")" && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/src" "$scratch/home"
: > "$scratch/src/lib.rs"
cat > "$scratch/Cargo.toml" <<EOF
[package]
name = "verify"
edition = "2021"
[dependencies]
lz4_flex = { version = "=$version", default-features = false }
EOF

CARGO_HOME="$scratch/home" cargo fetch --quiet --manifest-path "$scratch/Cargo.toml" || {
	echo "verify: Cargo could not download lz4_flex $version; check the network, try again" >&2
	exit 1
}
crate=$(find "$scratch/home" -name "lz4_flex-$version.crate")
echo "$checksum  $crate" | sha256sum --check --quiet || {
	echo "verify: the downloaded crate is not the one vendor/README.md names" >&2
	exit 1
}
mkdir "$scratch/unpacked"
tar -xzf "$crate" -C "$scratch/unpacked"
# The one file added here, see vendor/README.md.
ln -s lib.rs "$scratch/unpacked/lz4_flex-$version/src/lz4_flex.rs"
# A kernel build leaves its objects beside the sources.
diff -r --no-dereference -x '*.o' -x '.*.cmd' -x '*.d' \
	"$scratch/unpacked/lz4_flex-$version" "$here/lz4_flex" || {
	echo "verify: vendor/lz4_flex differs from the published crate, see above" >&2
	exit 1
}
echo "vendor/lz4_flex is lz4_flex $version as published"
