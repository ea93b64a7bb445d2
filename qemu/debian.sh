# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# Debian packages without the host's package management: sourced, after toolchain.sh, by the scripts
# that fetch packages. apt uses private lists and an empty status file. It checks the packages
# against the archive's signatures and they are unpacked into a folder. Nothing is installed,
# removed or upgraded, no lock of the host's apt is taken, and no root is needed.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The architecture of the packages to fetch, in Debian's terms.
architecture=amd64

# need_debian: ends on a host that is not Debian, and prints what to do.
need_debian() {
	local ID='' VERSION_CODENAME='' PRETTY_NAME=''
	# shellcheck disable=SC1091
	[ ! -r /etc/os-release ] || . /etc/os-release
	codename=$VERSION_CODENAME
	if [ "$ID" != debian ] || ! command -v apt-get >/dev/null ||
		! command -v dpkg-deb >/dev/null; then
		die "this is ${PRETTY_NAME:-no Debian}:" \
			"the tools come as packages of Debian 12 or 13," \
			"so run this in a container or chroot of one" \
			"(for the host tests alone: cargo test --workspace)"
	fi
	[ "$(dpkg --print-architecture)" = amd64 ] ||
		die "only amd64 machines are supported, this is $(dpkg --print-architecture)"
	[ -r "$keyring" ] || die "$keyring is missing: install the package debian-archive-keyring"
}

# need_cache: ends when the cache cannot be written.
need_cache() {
	mkdir -p "$OVERLAYBD_CACHE" 2>/dev/null || :
	[ -w "$OVERLAYBD_CACHE" ] ||
		die "$OVERLAYBD_CACHE cannot be written (XDG_CACHE_HOME names another place)"
}

# need_space MIB WHAT: ends when the cache's file system has less free space.
need_space() {
	local free
	need_cache
	free=$(($(df -Pk "$OVERLAYBD_CACHE" | awk 'NR == 2 { print $4 }') / 1024))
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MiB in $OVERLAYBD_CACHE, $free MiB are free there" \
			"(XDG_CACHE_HOME names another place)"
}

# machine_suites: prints "URI SUITE" of every list that the host's apt reads, Debian's mirrors
# first. apt itself reads its source lists, in any format. Archives of other vendors may be among
# them.
machine_suites() {
	mkdir -p "$apt/none/partial"
	apt-get -o Dir::State::lists="$apt/none" update --print-uris 2>/dev/null |
		sed -n "s|^'\([^']*\)/dists/\([^']*\)/InRelease'.*|\1 \2|p" |
		awk '{ print ($1 ~ /\/debian(-security)?\/*$/ ? 1 : 2), $1, $2 }' |
		sort -s -n -k 1,1 | cut -d' ' -f2-
}

# mirrors: prints the host's mirrors that may have any suite of Debian, the most likely first.
mirrors() {
	machine_suites | awk '
		$2 ~ /security/ || $1 ~ /security/ { next }
		{ rank = ($1 ~ /\/debian\/*$/) ? 1 : 2 }
		$2 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable)/ { rank -= 0.5 }
		!seen[$1]++ { print rank, $1 }
	' | sort -n | cut -d' ' -f2
}

# private_apt TOOL ARGUMENT...: apt-get or apt-cache on the private lists, with the host's settings
# for downloads (proxies, certificates), without its hooks, pins and choices of packages.
private_apt() {
	local tool=$1
	shift
	LC_ALL=C "$tool" -c "$apt/apt.conf" "$@"
}

# apt_error: prints the first error of apt in read_lists, as one line.
apt_error() {
	sed -n 's/^[EW]: //p' "$apt/errors" 2>/dev/null | head -n 1
}

# read_lists "URI SUITE"...: fetches these package lists into the folder $apt.
read_lists() {
	local source
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc"
	: >"$apt/status"
	for source; do
		printf 'deb [arch=%s lang=none target=Packages signed-by=%s] %s main\n' \
			"$architecture" "$keyring" "$source"
	done >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-CONF
	#clear APT::Default-Release;
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	#clear DPkg::Post-Invoke;
	Dir::State "$apt";
	Dir::State::lists "$apt/lists";
	Dir::State::status "$apt/status";
	Dir::Log "$apt";
	Dir::Cache "$apt";
	Dir::Cache::archives "$apt/archives";
	Dir::Cache::pkgcache "";
	Dir::Cache::srcpkgcache "";
	Dir::Etc::sourcelist "$apt/sources.list";
	Dir::Etc::sourceparts "$apt/etc";
	Dir::Etc::preferences "$apt/etc/preferences";
	Dir::Etc::preferencesparts "$apt/etc";
	APT::Architecture "$architecture";
	APT::Architectures { "$architecture"; };
	APT::Install-Recommends "false";
	APT::Install-Suggests "false";
	APT::Sandbox::User "$(id -un)";
	APT::Get::List-Cleanup "true";
	Acquire::Languages "none";
	Acquire::Retries "3";
	CONF
	private_apt apt-get -qq -o APT::Update::Error-Mode=any update 2>"$apt/errors"
}

# read_release RELEASE [SUITE...]: fetches the lists of a release: its suite and the given ones from
# the first mirror that has it, and its updates and security fixes from the archives that the host's
# apt uses for those of its own release.
read_release() {
	local release=$1 mirror more others suite
	shift
	for mirror in $(mirrors); do
		mapfile -t more < <(machine_suites |
			grep -E " $codename-(updates|security)\$" | awk '!seen[$2]++' |
			sed "s/ $codename-/ $release-/")
		others=()
		for suite; do
			others+=("$mirror $suite")
		done
		# Archives of other vendors may have a suite of that name. The release alone is
		# enough.
		if read_lists "$mirror $release" "${others[@]}" "${more[@]}" ||
			read_lists "$mirror $release" "${others[@]}"; then
			return
		fi
	done
	die "the package lists of $release cannot be read: is the network up," \
		"and does apt's source list name a Debian mirror that has it? $(apt_error)"
}

# keep_release: the same for the host's release, for a script that only reads the lists. They stay
# in the cache and are fetched again after an hour, or later when the network is down. Sets `fast`
# to options for private_apt.
keep_release() {
	apt=$OVERLAYBD_CACHE/lists
	fast=(-o "Dir::Cache::pkgcache=pkgcache.bin" -o "Dir::Cache::srcpkgcache=srcpkgcache.bin")
	mkdir -p "$apt"
	exec 8>"$apt/lock"
	flock 8
	if [ -z "$(find "$apt/read-$codename" -mmin -60 2>/dev/null)" ]; then
		if (read_release "$codename"); then
			touch "$apt/read-$codename"
		else
			[ -e "$apt/read-$codename" ] || exit 1
		fi
	fi
	exec 8>&-
}

# unpack_closure ROOT PACKAGE...: downloads the packages with all their dependencies, as on a host
# without packages, and unpacks them below ROOT.
unpack_closure() {
	local root=$1 deb log=$apt/download.log total
	shift
	total=$(private_apt apt-get -s install "$@" 2>"$apt/errors" | grep -c '^Inst ') || {
		die "the archive lacks some of: $* ($(apt_error))"
	}
	private_apt apt-get -y --download-only install "$@" 2>&1 |
		"$here/progress" --log "$log" --count '^Get:[0-9]' --noun packages \
			--total "$total" "downloading" || {
		tail -n 5 "$log" >&2
		die "the packages could not be downloaded, see above"
	}
	# One merged tree, even if single packages still have /bin and /lib.
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
	for deb in "$apt"/archives/*.deb; do
		echo "$deb"
		# Device nodes and owners are only for installed systems.
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x --keep-directory-symlink --no-same-owner -C "$root" \
				--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
				--exclude='./usr/share/locale/*' || exit
		rm -f "$deb"
	done | "$here/progress" --noun packages --total "$total" "unpacking"
}

# keep_links_inside ROOT: makes the absolute links of a tree lead to the same path in that tree.
keep_links_inside() {
	local root=$1 link target
	find "$root" -lname '/*' -printf '%p\0%l\0' |
		while IFS= read -r -d '' link && read -r -d '' target; do
			ln -sfn "$root$target" "$link"
		done
}
