#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A hundred ZFiles in each other. Each decompresses where the read of the one below completes, on
# the same stack, while there is room on it: on a ramdisk that is the stack of the task that reads,
# on a disk with one queue that of the interrupt. A read that fails below them completes on the same
# stacks. No stack may overflow.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

levels=100
bytes=65536
mkimage nested "$CASE_TMP/zf" --levels $levels --bytes $bytes >"$CASE_TMP/levels"
major=$(awk '$2 == "device-mapper" { print $1 }' /proc/devices)

# A single dmsetup creates them all, because a process is costly here. The numbers of the devices
# are known beforehand.
concise=
minor=100
while read -r sectors zfile_bytes; do
	lower=$major:$((minor - 1))
	concise="$concise;nested$minor,,$minor,ro,0 $sectors zfile_target $lower $zfile_bytes"
	minor=$((minor + 1))
done <"$CASE_TMP/levels"

take_down() {
	dmsetup remove_all
	expect_eq "devices" "$(dmsetup ls)" "No devices found"
}

# below TARGET: makes this the target below all of them.
below() {
	dmsetup load disk -r --table "0 $sectors $1"
	dmsetup resume disk
}

sectors=$(sectors_of /dev/vdb)
dd if="$CASE_TMP/zf" of=/dev/ram0 bs=1M conv=fsync status=none
dd if="$CASE_TMP/zf" of=/dev/vdb bs=1M conv=fsync status=none
undo_add take_down
dmsetup create --concise "disk,,99,ro,0 $sectors linear /dev/ram0 0$concise"
top=/dev/mapper/nested$((minor - 1))
for disk in /dev/ram0 /dev/vdb; do
	note "on $disk"
	below "linear $disk 0"
	for unit in 4096 65536; do
		expect_ok blkcheck sweep "$top" "$CASE_TMP/zf.content" --unit $unit
	done
	expect_ok blkcheck compare "$top" "$CASE_TMP/zf.content" --reads 16 --threads 4 --seed 1 \
		--max-bytes 16384

	note "a read that fails below all of them"
	# The lowest ZFile finds the damage where it would decompress.
	below "flakey $disk 0 0 3600 5 corrupt_bio_byte 20 r 165 0"
	expect_fail_with "Input/output error" dd if="$top" of=/dev/null bs=64k count=1 iflag=direct
done
