# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# Sources of kernels, from Debian's packages linux-source-*: sourced, after debian.sh, by the
# scripts that need one. Each version is unpacked once, into a folder of the cache. No script
# changes it.

sources=$OVERLAYBD_CACHE/source

# The size of a source in MiB (archive, package and tree).
source_room=2300

# source_dir VERSION: the folder of a version of the packages.
source_dir() {
	printf '%s/linux-%s\n' "$sources" "$(printf '%s' "$1" | tr -c 'A-Za-z0-9.-' '_')"
}

# unpack_source SERIES VERSION: downloads the source of a series from the lists just read and
# unpacks it.
unpack_source() {
	local version=$2 dir deb part size
	dir=$(source_dir "$version")
	if [ -e "$dir/.complete" ]; then
		say "source $version is here already"
		return
	fi
	need_space "$source_room" "a kernel's source"
	part=$sources/.part-${dir##*/}
	rm -rf "$part" "$dir"
	mkdir -p "$part/deb"
	size=$(private_apt apt-cache show "linux-source-$1=$version" |
		awk '/^Size:/ { printf "%.0f MB", $2 / 1e6 }')
	say "downloading linux-source-$1 $version ($size)"
	(cd "$part/deb" && private_apt apt-get -q download "linux-source-$1=$version")
	deb=$(echo "$part"/deb/*.deb)
	say "unpacking $(basename "$deb")"
	dpkg -x "$deb" "$part/deb"
	rm -f "$deb"
	mkdir "$part/tree"
	tar -C "$part/tree" --strip-components=1 -xvf "$part/deb/usr/src/linux-source-$1.tar.xz" |
		"$here/progress" --noun files --total 101000 "unpacking"
	rm -rf "$part/deb"
	mv "$part/tree" "$dir"
	rmdir "$part"
	touch "$dir/.complete"
}
