#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A block larger than a page is kept for a while when a part of it is read: it is read and decompressed
# once for reads in order and for reads at the same time, and what comes of it is right. Where it cannot
# be read, all who wait for it fail, and it is tried anew.
#
# timeout: 300
# module: none
. /overlaybd/tests/vm/lib.sh

module=/overlaybd/dm-overlaybd.ko

# count_of NAME FIELD: a number of the status line.
count_of() {
	info_of "$1" | sed "s/.* $2 \([0-9]*\).*/\1/"
}

# Reads that a device has completed.
reads_of() {
	awk '{ print $1 }' "/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor --separator : "$1")/stat"
}

# read_together NAME BLOCK FIRST: eight reads of 4 KiB at the same time, of a block of 64 KiB from 4 KiB times
# FIRST on; the exit status of each goes to a file, its data to another.
read_together() {
	n=0
	while [ $n -lt 8 ]; do
		(
			status=0
			dd if=/dev/mapper/"$1" of="$CASE_TMP/part$n" bs=4096 skip=$(($2 * 16 + $3 + n)) count=1 iflag=direct 2>/dev/null ||
				status=$?
			echo $status >"$CASE_TMP/status$n"
		) &
		n=$((n + 1))
	done
	wait
	cat "$CASE_TMP"/status? | tr '\n' ' '
}

insmod $module
for size in 8192 16384 65536; do
	note "in order, blocks of $size"
	mkimage zfile "$CASE_TMP/zf$size" --bytes 300544 --block-size $size
	loop_of "$CASE_TMP/zf$size"
	dm_create z$size "0 587 zfile_target $loop $(stat -c %s "$CASE_TMP/zf$size")" -r
	dd if=/dev/mapper/z$size of="$CASE_TMP/out" bs=4096 iflag=direct 2>/dev/null
	expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/zf$size.content"
	blocks=$(((300544 + size - 1) / size))
	expect_eq "blocks decompressed" "$(count_of z$size blocks_decompressed)" $blocks
	expect_eq "reads answered" "$(count_of z$size cache_hits)" $((74 - blocks))
	random_reads /dev/mapper/z$size "$CASE_TMP/zf$size.content" 100 --seed $size --threads 4
	expect_ok blkcheck sweep /dev/mapper/z$size "$CASE_TMP/zf$size.content" --unit 1536
	dm_remove z$size
done

note "at the same time"
n=$(sectors_of "$loop")
dm_create under "0 $n delay $loop 0 1500" -r
dm_create z "0 587 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/zf65536")" -r
before=$(reads_of under)
expect_eq statuses "$(read_together z 1 8)" "0 0 0 0 0 0 0 0 "
expect_eq "lower reads" "$(reads_of under)" $((before + 1))
expect_eq "blocks decompressed" "$(count_of z blocks_decompressed)" 1
cat "$CASE_TMP"/part? >"$CASE_TMP/out"
dd if="$CASE_TMP/zf65536.content" of="$CASE_TMP/wanted" bs=32768 skip=3 count=1 2>/dev/null
expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/wanted"

note "at the same time, and it cannot be read"
dm_create bad "0 $n error" -r
dmsetup load under -r --table "0 $n delay /dev/mapper/bad 0 1500"
dmsetup resume under
before=$(reads_of under)
expect_eq statuses "$(read_together z 2 0)" "1 1 1 1 1 1 1 1 "
expect_eq "lower reads" "$(reads_of under)" $((before + 1))
expect_eq "read errors" "$(count_of z read_errors)" 1
# What is kept can be read all the same.
expect_eq statuses "$(read_together z 1 0)" "0 0 0 0 0 0 0 0 "

note "healed"
dmsetup load under -r --table "0 $n linear $loop 0"
dmsetup resume under
random_reads /dev/mapper/z "$CASE_TMP/zf65536.content" 50 --seed 1 --threads 2
dm_remove z
dm_remove under
dm_remove bad
expect_ok rmmod dm_overlaybd

note "without a cache"
expect_ok insmod $module block_cache_kib=0
dm_create z "0 587 zfile_target $loop $(stat -c %s "$CASE_TMP/zf65536")" -r
dd if=/dev/mapper/z of="$CASE_TMP/out" bs=4096 iflag=direct 2>/dev/null
expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/zf65536.content"
expect_eq "blocks decompressed" "$(count_of z blocks_decompressed)" 74
expect_eq "reads answered" "$(count_of z cache_hits)" 0
dm_remove z
expect_ok rmmod dm_overlaybd
