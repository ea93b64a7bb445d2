# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# Debian packages without the machine's package management: sourced, after toolchain.sh, by the scripts
# that fetch some. apt reads lists of its own and believes that nothing is installed; what it fetches is
# checked against the archive's signatures and unpacked into a folder. Nothing is installed, removed or
# upgraded, no lock of the machine's apt is taken, and no root is needed.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Of which architecture the packages are that are looked for and fetched, in Debian's words.
architecture=amd64

# Says what is needed instead on a machine that is not Debian's, and ends.
need_debian() {
	local ID='' VERSION_CODENAME='' PRETTY_NAME=''
	# shellcheck disable=SC1091
	[ ! -r /etc/os-release ] || . /etc/os-release
	codename=$VERSION_CODENAME
	if [ "$ID" != debian ] || ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		die "this is ${PRETTY_NAME:-no Debian}: the tools come as packages of Debian 12 or 13, so run this in a" \
			"container or chroot of one (for the host tests alone: cargo test --workspace)"
	fi
	[ "$(dpkg --print-architecture)" = amd64 ] ||
		die "only amd64 machines are supported, this is $(dpkg --print-architecture)"
	[ -r "$keyring" ] || die "$keyring is missing: install the package debian-archive-keyring"
}

# Ends when the cache is a place where nothing can be put.
need_cache() {
	mkdir -p "$OVERLAYBD_CACHE" 2>/dev/null || :
	[ -w "$OVERLAYBD_CACHE" ] ||
		die "$OVERLAYBD_CACHE cannot be written (XDG_CACHE_HOME names another place)"
}

# need_space MIB WHAT: ends when the cache's file system has less room than that.
need_space() {
	local free
	need_cache
	free=$(($(df -Pk "$OVERLAYBD_CACHE" | awk 'NR == 2 { print $4 }') / 1024))
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MiB in $OVERLAYBD_CACHE, $free MiB are free there (XDG_CACHE_HOME names another place)"
}

# "URI SUITE" of every list that the machine's apt would read, Debian's mirrors first. apt itself reads
# its source lists, in whatever format they are. Other vendors' archives may be among them.
machine_suites() {
	mkdir -p "$apt/none/partial"
	apt-get -o Dir::State::lists="$apt/none" update --print-uris 2>/dev/null |
		sed -n "s|^'\([^']*\)/dists/\([^']*\)/InRelease'.*|\1 \2|p" |
		awk '{ print ($1 ~ /\/debian(-security)?\/*$/ ? 1 : 2), $1, $2 }' | sort -s -n -k 1,1 | cut -d' ' -f2-
}

# The machine's mirrors that may carry any suite of Debian's, most likely first.
mirrors() {
	machine_suites | awk '
		$2 ~ /security/ || $1 ~ /security/ { next }
		{ rank = ($1 ~ /\/debian\/*$/) ? 1 : 2 }
		$2 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable)/ { rank -= 0.5 }
		!seen[$1]++ { print rank, $1 }
	' | sort -n | cut -d' ' -f2
}

# apt-get and apt-cache on the private lists. The machine's settings of how to fetch (proxies,
# certificates) hold; its hooks, pins and choices of packages do not.
private_apt() {
	local tool=$1
	shift
	LC_ALL=C "$tool" -c "$apt/apt.conf" "$@"
}

# What apt said last when read_lists failed, as one line.
apt_error() {
	sed -n 's/^[EW]: //p' "$apt/errors" 2>/dev/null | head -n 1
}

# read_lists "URI SUITE"...: reads the package lists of these into the folder $apt.
read_lists() {
	local source
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc"
	: >"$apt/status"
	for source; do
		printf 'deb [arch=%s lang=none target=Packages signed-by=%s] %s main\n' "$architecture" "$keyring" "$source"
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

# read_release RELEASE [SUITE...]: reads the lists of a release: its suite from the first mirror that has
# it, with the updates and security fixes of the places where the machine's apt finds those of its own
# release; and more suites of the same mirror.
read_release() {
	local release=$1 mirror more others suite
	shift
	for mirror in $(mirrors); do
		mapfile -t more < <(machine_suites |
			grep -E " $codename-(updates|security)\$" | awk '!seen[$2]++' | sed "s/ $codename-/ $release-/")
		others=()
		for suite; do
			others+=("$mirror $suite")
		done
		# Other vendors' archives may have a suite of that name: the release alone is enough.
		if read_lists "$mirror $release" "${others[@]}" "${more[@]}" ||
			read_lists "$mirror $release" "${others[@]}"; then
			return
		fi
	done
	die "the package lists of $release cannot be read: is the network up, and does apt's source list name a" \
		"Debian mirror that has it? $(apt_error)"
}

# The same for one that only looks: the lists stay in the cache and are read again after an hour, or later
# when the network is down. Options of private_apt are left in `fast`.
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

# unpack_closure ROOT PACKAGE...: downloads the packages with all they depend on, as if nothing were
# installed, and unpacks them below ROOT.
unpack_closure() {
	local root=$1 deb log=$apt/download.log total
	shift
	total=$(private_apt apt-get -s install "$@" 2>"$apt/errors" | grep -c '^Inst ') || {
		die "the archive lacks some of: $* ($(apt_error))"
	}
	private_apt apt-get -y --download-only install "$@" 2>&1 |
		"$here/progress" --log "$log" --count '^Get:[0-9]' --noun packages --total "$total" "downloading" || {
		tail -n 5 "$log" >&2
		die "the packages could not be downloaded, see above"
	}
	# One tree, whatever single packages still say of /bin and /lib.
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
	for deb in "$apt"/archives/*.deb; do
		echo "$deb"
		# Device nodes and owners are for installed systems.
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$root" \
			--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' || exit
		rm -f "$deb"
	done | "$here/progress" --noun packages --total "$total" "unpacking"
	# Links that name a place in a system name the same one here.
	find "$root" -lname '/*' -printf '%p\0%l\0' | while IFS= read -r -d '' link && read -r -d '' target; do
		ln -sfn "$root$target" "$link"
	done
}
