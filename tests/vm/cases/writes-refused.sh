#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# No task can write to a target, whether its table was loaded read-only or not: writes, discards and
# the like fail, a flush succeeds, and none of them reaches the lower device, which does not change.
#
# timeout: 240
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
cp "$IMAGES/$image" "$CASE_TMP/zf"
truncate -s %4096 "$CASE_TMP/zf"
cp "$IMAGES/$layer" "$CASE_TMP/layer"
truncate -s %4096 "$CASE_TMP/layer"
about malformed $image
bytes=$of_bytes
sha256=$of_content_sha256
about malformed $layer
layer_bytes=$of_bytes
layer_sectors=$((of_content_bytes / 512))

# Lower devices that can be written.
for file in zf layer; do
	loop=$(losetup -f --show "$CASE_TMP/$file")
	undo_add "losetup -d $loop"
	eval "$file=$loop"
done

# writes DEVICE: prints how many writes, discards and flushes it has completed.
writes() {
	awk '{ print $5 + $12 + $16 }' "/sys/block/${1##*/}/stat"
}

# check NAME WHAT RESULTS: tries to modify a target, with these results, and checks that nothing was
# written.
check() {
	note "$1, $2"
	before=$(sha256_of "$CASE_TMP/zf")$(sha256_of "$CASE_TMP/layer")
	zf_writes=$(writes "$zf")
	layer_writes=$(writes "$layer")
	content=$(blkcheck hash "/dev/mapper/$1")
	expect_eq "what came of it" "$(blkcheck modify "/dev/mapper/$1")" "$3"
	expect_eq "writes to the ZFile's device" "$(writes "$zf")" "$zf_writes"
	expect_eq "writes to the layer's device" "$(writes "$layer")" "$layer_writes"
	expect_eq "the lower devices" "$(sha256_of "$CASE_TMP/zf")$(sha256_of "$CASE_TMP/layer")" \
		"$before"
	echo 3 >/proc/sys/vm/drop_caches
	expect_eq "the content" "$(blkcheck hash "/dev/mapper/$1")" "$content"
}

writable="flush done
direct-write EIO
long-direct-write EIO
buffered-write EIO
discard EOPNOTSUPP
secure-discard EOPNOTSUPP
zero-out EIO
one-sector-write EIO"
readonly="flush done
direct-write EPERM
long-direct-write EPERM
buffered-write EPERM
discard EOPNOTSUPP
secure-discard EOPNOTSUPP
zero-out EPERM
one-sector-write EPERM"

for mode in "" -r; do
	want=$readonly
	[ -n "$mode" ] || want=$writable
	# shellcheck disable=SC2086
	dm_create z "0 129 zfile_target $zf $bytes" $mode
	expect_eq "read-only" "$(blockdev --getro /dev/mapper/z)" \
		"$([ -n "$mode" ] && echo 1 || echo 0)"
	check z "zfile_target $mode" "$want"
	dm_remove z
	# All of the stack, also where it has no data: zeros must not be overwritten either.
	# shellcheck disable=SC2086
	dm_create s "0 $layer_sectors lsmt_target $layer $layer_bytes" $mode
	check s "lsmt_target $mode" "$want"
	dm_remove s
done

# The statistics count a write to the lower device.
before=$(writes "$zf")
dd if=/dev/zero of="$zf" bs=4096 count=1 oflag=direct status=none
[ "$(writes "$zf")" -gt "$before" ] || fail "writes are not counted"

note "lower devices that cannot be written to serve both modes"
loop_of "$IMAGES/$image"
for mode in "" -r; do
	# shellcheck disable=SC2086
	dm_create z "0 129 zfile_target $loop $bytes" $mode
	holds /dev/mapper/z "$sha256"
	dm_remove z
done
