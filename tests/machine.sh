# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# Test machines, which are folders with a Debian: sourced, after qemu/toolchain.sh and
# qemu/debian.sh, by the tests that need them. mmdebstrap builds them from the mirrors of the host's
# apt. They need root. All mounts are in a namespace that ends with the command that runs in it.

need_machines() {
	[ "$(id -u)" = 0 ] || die "this must be run by root: it mounts and changes roots"
	command -v mmdebstrap >/dev/null ||
		die "mmdebstrap is missing: install the package mmdebstrap"
}

# suites RELEASE: prints the source list of a machine of that release.
suites() {
	local own suite uri
	# shellcheck source=/dev/null
	own=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
	while read -r uri suite; do
		case $suite in
		"$own" | "$own"-updates | "$own"-security)
			printf 'deb %s %s main\n' "$uri" "$1${suite#"$own"}"
			;;
		esac
	done < <(machine_suites)
	printf 'deb %s %s-backports main\n' "$(mirrors | head -n 1)" "$1"
}

# make_machine RELEASE ROOT PACKAGE...: builds a minimal machine with these packages of its release.
make_machine() {
	local release=$1 root=$2 apt
	shift 2
	say "building the machine ${root##*/}"
	mkdir -p "${root%/*}"
	rm -rf "$root" "$root.key"
	apt=$(mktemp -d)
	suites "$release" >"$apt/sources"
	# Settings for downloads: proxies, for example.
	apt-config dump Acquire >"$apt/acquire"
	mmdebstrap --quiet --variant=minbase --include="$(printf '%s\n' "$@" | paste -s -d ,)" \
		--aptopt="$apt/acquire" --skip=cleanup/apt/lists \
		"$release" "$root" - <"$apt/sources" ||
		die "mmdebstrap could not build ${root##*/}"
	rm -rf "$apt"
	# Packages must not start services.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod +x "$root/usr/sbin/policy-rc.d"
}

# Options of unshare for commands in a machine: more namespaces.
isolation=()

# inside ROOT USER PREPARE COMMAND...: runs a command in a machine with the environment of a login
# of USER. A shell on the host runs PREPARE before, with the mounts of the machine and root=ROOT.
inside() {
	local root=$1 user=$2 prepare=$3 ids=0:0 home=/root
	local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	shift 3
	if [ "$user" != root ]; then
		ids=$(chroot "$root" id -u "$user"):$(chroot "$root" id -g "$user")
		home=/home/$user path=/usr/local/bin:/usr/bin:/bin
	fi
	# shellcheck disable=SC2016 # for the shell inside
	unshare --mount "${isolation[@]}" --pid --fork --kill-child --propagation private \
		bash -euc '
		root=$1 prepare=$2 ids=$3
		shift 3
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/tmp"
		# A proxy may have a certificate of its own.
		[ ! -r "${SSL_CERT_FILE:-}" ] || cp "$SSL_CERT_FILE" "$root/tmp/certificates"
		eval "$prepare"
		chroot --userspec="$ids" --groups="${ids#*:}" "$root" "$@"
	' bash "$root" "$prepare" "$ids" \
		env -i HOME="$home" USER="$user" LOGNAME="$user" PATH="$path" TERM=dumb \
		${SSL_CERT_FILE:+SSL_CERT_FILE=/tmp/certificates} "$@" </dev/null
}
