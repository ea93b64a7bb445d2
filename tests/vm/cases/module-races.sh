#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The module is loaded and unloaded while devices are created, read and removed. A table is refused
# while the target is not there, and each device that is created holds the right bytes. Several
# tasks load tables into one device at once: it always has one of them.
#
# timeout: 300
# only: debug
# module: none
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
about malformed $image
sha256=$of_content_sha256
loop_of "$IMAGES/$image"
table="0 129 zfile_target $loop $of_bytes"

note "loading and unloading"
(
	while [ ! -e "$CASE_TMP/stop" ]; do
		insmod "$MODULE" 2>/dev/null && echo loaded >>"$CASE_TMP/turns"
		rmmod dm_overlaybd 2>/dev/null && echo unloaded >>"$CASE_TMP/turns"
	done
) &
turner=$!
made=0
refused=0
while [ $made -lt 15 ] || [ $refused -lt 3 ]; do
	if dmsetup create z -r --table "$table" >"$CASE_TMP/out" 2>&1; then
		made=$((made + 1))
		holds /dev/mapper/z "$sha256"
		expect_ok dmsetup remove z
	else
		refused=$((refused + 1))
		expect_ok grep -q "Invalid argument" "$CASE_TMP/out"
	fi
done
: >"$CASE_TMP/stop"
wait $turner
turns=$(grep -c unloaded "$CASE_TMP/turns")
note "created $made, refused $refused, unloaded $turns times"
[ "$turns" -ge 3 ] || fail "the module was hardly ever unloaded"

note "several loads at once"
[ -n "$(module_references)" ] || insmod "$MODULE"
dm_create z "$table" -r
loaders=
for _ in 1 2 3 4; do
	(
		for _ in 1 2 3 4 5 6 7 8; do
			dmsetup load z -r --table "$table" 2>>"$CASE_TMP/loads" || exit 1
			# It fails where another task has resumed the device in between.
			dmsetup resume z 2>/dev/null || true
		done
	) &
	loaders="$loaders $!"
done
for _ in 1 2 3 4 5; do
	holds /dev/mapper/z "$sha256"
done
for loader in $loaders; do
	wait "$loader" || fail "a load failed: $(cat "$CASE_TMP/loads")"
done
expect_ok dmsetup resume z
holds /dev/mapper/z "$sha256"
dm_remove z
expect_eq "module references" "$(module_references)" 0
expect_ok rmmod dm_overlaybd
