#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup: reference stacks of all kinds of layers, from files that end within a sector,
# become devices that hold the right bytes and leave nothing when they are closed; the layer files
# do not change. The commands that `table` prints do the same.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

nothing_left "something before"
opened=0
# The first eight stacks that have a hash.
while IFS="$TAB" read -r _ sha256 _ stack; do
	[ "$sha256" != - ] || continue
	[ $opened -lt 8 ] || break
	layers_of "$stack"
	note "$stack"
	# shellcheck disable=SC2086
	open_image image $layers
	holds /dev/mapper/image "$want" "$CASE_TMP/$want"
	expect_eq size "$(bytes_of /dev/mapper/image)" "$size"
	expect_eq read-only "$(busybox blockdev --getro /dev/mapper/image)" 1
	close_image image
	nothing_left "close of $stack"
	opened=$((opened + 1))
done <"$IMAGES/stacks.tsv"

# One layer of each kind, the first of them in a file without write permission.
all_kinds
# shellcheck disable=SC2086
set -- $layers
chmod 400 "$2"
sums=$(sha256sum "$2" "$4" "$6" "$8")
open_image image "$@"
holds /dev/mapper/image "$want" "$CASE_TMP/$want"
random_reads /dev/mapper/image "$CASE_TMP/$want" 40 --seed 3
expect_eq "layers" "$(value_of name status image)" '"image"'
expect_eq "devices" "$(overlaybdsetup list)" "image${TAB}image${TAB}$size${TAB}4"
overlaybdsetup status image >"$CASE_TMP/status"
expect_ok grep -q "layer 2:.*fs1_lz4_4k_tar.tar at 1536, lz4 4096, checksums" "$CASE_TMP/status"
expect_ok grep -q "layer 4:.*fs3_raw.lsmt, not compressed" "$CASE_TMP/status"
expect_eq "devices for the ends of files" "$(dmsetup ls | grep -c '^overlaybd-file-')" 1
expect_ok grep -q "errors: *0 read, 0 checksum, 0 decompression" "$CASE_TMP/status"
expect_ok grep -q "/dev/mapper/image is not in use" "$CASE_TMP/status"
refuses 5 "there is a device image already" open image "$@"
close_image image
nothing_left "close"
expect_eq "layer files" "$(sha256sum "$2" "$4" "$6" "$8")" "$sums"
refuses 4 "there is no device image" close image
refuses 4 "/dev/mapper/image is no device of overlaybdsetup" status image

# By hand. The last lines of the script are comments: the commands that remove the device.
overlaybdsetup table --name by-hand "$@" >"$CASE_TMP/script"
# shellcheck source=/dev/null
(
	. "$CASE_TMP/script"
	holds /dev/mapper/by-hand "$want" "$CASE_TMP/$want"
	sed -n 's/^# \(dmsetup remove\|losetup --detach\)/\1/p' "$CASE_TMP/script" >"$CASE_TMP/down"
	. "$CASE_TMP/down"
)
nothing_left "the script"
expect_ok overlaybdsetup verify "$@"
report "$opened reference stacks and a mixed one"
