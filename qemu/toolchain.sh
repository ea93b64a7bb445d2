# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# The paths of the cache and of the programs that build the kernels and the module: sourced by every
# bash script of the project. It fetches nothing and builds nothing.

# What all clones share: programs, kernel sources, built kernels, the result of the KVM probe.
OVERLAYBD_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dm-overlaybd

# The major version of clang, lld and llvm; LLVM=-19 makes Kbuild use clang-19, ld.lld-19, ...
LLVM_MAJOR=19

# Packages that several sets share.
clang="clang-$LLVM_MAJOR libclang1-$LLVM_MAJOR llvm-$LLVM_MAJOR"
lld="clang-$LLVM_MAJOR lld-$LLVM_MAJOR llvm-$LLVM_MAJOR libclang1-$LLVM_MAJOR"
cross="gcc-14-aarch64-linux-gnu gcc-14-arm-linux-gnueabihf libc6-dev-arm64-cross"
parsers="flex bison bc libelf-dev"
libraries="libssl-dev zlib1g-dev"
mount="mount util-linux"
files="coreutils diffutils findutils"

# The programs in the guest of one of Debian's kernels, or of another architecture. The guest
# installs the module's package with them. Those of the last line are for images in a registry;
# nbdkit's plugins and filters are in its own package.
guest="busybox-static dmsetup $mount $files dash bash kmod dpkg tar libc-bin
	udev crun systemd
	nbdkit nbd-client curl docker-registry iproute2 e2fsprogs"

# The packages of each set of programs that qemu/packages fetches. Each byte of a value, spaces too,
# is a part of the set's key (root_of).
declare -A packages_of=(
	[build]="patchelf make gcc $lld
		rustc-web rust-web-src cargo-web rustfmt-web rust-web-clippy
		$parsers xz-utils python3 ca-certificates"
	[stock]="patchelf make gcc-14 libc6-dev $clang
		rustc rust-src bindgen $parsers $libraries xz-utils python3 kmod pahole openssl"
	[stock-arm64]="patchelf $cross"
	[vm]="patchelf qemu-system-x86 busybox-static dmsetup $mount e2fsprogs coreutils diffutils
		findutils dash bash udev crun"
	[vm-arm64]="patchelf qemu-system-arm"
	[guest-amd64]="$guest"
	[guest-arm64]="$guest"
	[target-arm64]="libstd-rust-web-dev libc6-dev libgcc-12-dev"
	[tool]="patchelf pkgconf-bin libdevmapper-dev curl"
	[check]="patchelf shellcheck perl"
	[docs]="patchelf python3-sphinx python3-yaml"
	[bench]="patchelf erofs-utils squashfs-tools dmsetup e2fsprogs kmod $mount coreutils
		python3-matplotlib"
	[root]="~E python3 git"
)
unset clang lld cross parsers libraries mount files

# The release that a set of programs comes from, where it is not the host's. In QEMU 7.2 of Debian
# 12 the second processor of an arm64 machine with memory tags faults before it is up.
declare -A release_of=([stock]=trixie [stock-arm64]=trixie [vm-arm64]=trixie
	[guest-amd64]=trixie [guest-arm64]=trixie)

# The architecture of a set, where it is not the host's: these are read and booted, not run on the
# host.
declare -A architecture_of_set=([guest-arm64]=arm64 [target-arm64]=arm64)

# root_of SET: the folder of a set of programs. It depends on the list of packages, the release, and
# the way the set is built (the number).
root_of() {
	local key release
	# shellcheck source=/dev/null
	release=${release_of[$1]:-$(
		. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-unknown}"
	)}
	key=$(printf '%s\n' 1 "$OVERLAYBD_CACHE" "${packages_of[$1]}" | sha256sum | cut -c1-8)
	printf '%s/programs/%s-%s-%s\n' "$OVERLAYBD_CACHE" "$1" "$release" "$key"
}

# use_build_root ROOT: puts the programs of the set `build` first. One rustc compiles kernel, module
# and host tests and runs clippy, whatever the host has (a proxy of rustup, for example).
use_build_root() {
	export PATH=$1/usr/sbin:$1/usr/bin:$PATH
	export RUSTC=$1/usr/bin/rustc RUSTDOC=$1/usr/bin/rustdoc RUSTFMT=$1/usr/bin/rustfmt
	export CARGO=$1/usr/bin/cargo CLIPPY_DRIVER=$1/usr/bin/clippy-driver
	# Linkers and C compilers for Cargo: the host may have none.
	export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=clang-$LLVM_MAJOR
	export CC=clang-$LLVM_MAJOR CXX=clang++-$LLVM_MAJOR AR=llvm-ar-$LLVM_MAJOR
	export LIBCLANG_PATH=$1/usr/lib/llvm-$LLVM_MAJOR/lib
	# The data files of bison and flex.
	export BISON_PKGDATADIR=$1/usr/share/bison M4=$1/usr/bin/m4
	# Cargo downloads with the host's certificates. Where there are none, or the user names
	# others, it needs their path.
	[ -e "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] ||
		export SSL_CERT_FILE=$1/certificates.pem
	[ -z "${SSL_CERT_FILE:-}" ] || export CARGO_HTTP_CAINFO=${CARGO_HTTP_CAINFO:-$SSL_CERT_FILE}
}

# cargo_install ROOT NAME VERSION: builds a program that extends Cargo, next to the programs ROOT
# that build it, unless it is there. Prints its folder.
cargo_install() {
	local root=$1/$2-$3
	(
		flock 9
		[ ! -x "$root/bin/$2" ] || exit 0
		say "building $2 $3, which takes a minute or two" >&2
		CARGO_TARGET_DIR=$root/target "$CARGO" install --quiet --locked --root "$root" \
			"$2@$3" >&2 || die "cargo could not build $2: see its messages above"
		rm -rf "$root/target"
	) 9>"$root.lock" || return
	printf '%s/bin\n' "$root"
}

# use_target_root ROOT: lets Cargo build programs for arm64 guests as well, linked statically, with
# --target aarch64-unknown-linux-gnu and the libraries of the set `target-arm64`. RUSTFLAGS must not
# be set then.
use_target_root() {
	# The configuration of clang for the host's programs names a loader, which static programs
	# lack.
	local flags="--no-default-config --target=aarch64-linux-gnu --sysroot=$1"
	export CC_aarch64_unknown_linux_gnu=clang-$LLVM_MAJOR
	export CFLAGS_aarch64_unknown_linux_gnu=$flags
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=clang-$LLVM_MAJOR
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=+crt-static \
		-Crelocation-model=static \
		--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=crates \
		-L $1/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib -Clink-arg=-fuse-ld=lld \
		${flags//--/-Clink-arg=--}"
}

# use_tool_root ROOT BUILD TARGET: lets Cargo build overlaybdsetup. bindgen generates its bindings
# to device-mapper from libdevmapper.h, of the set `tool` in ROOT, and from the headers of the C
# library and of Linux: for the host's programs those of the set `build` in BUILD, for arm64 those
# of `target-arm64` in TARGET. The kernel's bindgen, which has headers of its own, does not read
# these variables.
use_tool_root() {
	# The host tests run curl. A host that has one of its own uses that.
	PATH=$PATH:$1/usr/bin
	export PKG_CONFIG=$1/usr/bin/pkgconf PKG_CONFIG_PATH='' PKG_CONFIG_SYSROOT_DIR=$1
	export PKG_CONFIG_LIBDIR=$1/usr/lib/x86_64-linux-gnu/pkgconfig
	# bindgen asks clang for the headers. Without this it would use the clang of any
	# llvm-config.
	export CLANG_PATH=$2/usr/bin/clang-$LLVM_MAJOR
	export BINDGEN_EXTRA_CLANG_ARGS_x86_64_unknown_linux_gnu="--sysroot=$2"
	local arguments="--target=aarch64-linux-gnu --sysroot=$3"
	export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu=$arguments
}

# The oldest rustc and bindgen that the kernel supports (scripts/min-tool-version.sh).
RUSTC_MIN=1.85.0
BINDGEN_MIN=0.71.1

# Debian's bindgen is older than that, so this one is built into the set `build`.
BINDGEN_VERSION=0.73.2

die() {
	printf '%s: error: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

say() {
	printf '==> %s\n' "$*"
}

# version_ge A B: whether the dotted version A is at least B.
version_ge() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# tool_version TOOL: the version in "rustc 1.96.0 (…)" or "bindgen 0.73.2"; nothing without the
# tool.
tool_version() {
	"$1" --version 2>/dev/null | sed -n '1s/^[a-z-]* \([0-9][0-9.]*\).*/\1/p'
}
