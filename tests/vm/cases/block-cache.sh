#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A partial read of a block larger than a page decompresses the whole block, and the cache keeps it:
# the block is read and decompressed once for reads in order and for reads at the same time, and all
# of them return the right bytes. Where the block cannot be read, all reads that wait for it fail,
# and a later read tries again. The cache keeps no more blocks than it may.
#
# timeout: 300
# only: debug
# module: none
. /overlaybd/tests/vm/lib.sh

# read_together BLOCK FIRST cached|lower [TABLE]: eight reads of 4 KiB at the same time, of a block
# of 64 KiB from 4 KiB times FIRST on. The block is cached, or the lower device must read it. In the
# second case that device is suspended until all eight reads wait, and may get another table
# meanwhile. Sets $statuses to how each read ended, in order; their data is in files.
read_together() {
	if [ "$3" = lower ]; then
		dmsetup suspend under
	fi
	pids=
	n=0
	while [ $n -lt 8 ]; do
		dd if=/dev/mapper/z of="$CASE_TMP/part$n" bs=4096 skip=$(($1 * 16 + $2 + n)) \
			count=1 iflag=direct status=none 2>"$CASE_TMP/error$n" &
		pids="$pids $!"
		n=$((n + 1))
	done
	if [ "$3" = lower ]; then
		# shellcheck disable=SC2086
		eventually 60 under_way z 8 $pids
		[ -z "${4:-}" ] || dmsetup load under -r --table "$4"
		dmsetup resume under
	fi
	statuses=
	n=0
	for pid in $pids; do
		if wait "$pid"; then
			statuses="$statuses read"
		elif grep -q "Input/output error" "$CASE_TMP/error$n"; then
			statuses="$statuses EIO"
		else
			statuses="$statuses $(cat "$CASE_TMP/error$n")"
		fi
		n=$((n + 1))
	done
}

insmod "$MODULE"
for size in 8192 16384 65536; do
	note "in order, blocks of $size"
	mkimage zfile "$CASE_TMP/zf$size" --bytes 300544 --block-size $size
	loop_of "$CASE_TMP/zf$size"
	dm_create z$size "0 587 zfile_target $loop $(stat -c %s "$CASE_TMP/zf$size")" -r
	dd if=/dev/mapper/z$size of="$CASE_TMP/out" bs=4096 iflag=direct 2>/dev/null
	expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/zf$size.content"
	blocks=$(((300544 + size - 1) / size))
	count_of z$size blocks_decompressed
	expect_eq "blocks decompressed" "$count" $blocks
	count_of z$size cache_hits
	expect_eq "reads answered" "$count" $((74 - blocks))
	random_reads /dev/mapper/z$size "$CASE_TMP/zf$size.content" 100 --seed $size --threads 4
	expect_ok blkcheck sweep /dev/mapper/z$size "$CASE_TMP/zf$size.content" --unit 1536
	dm_remove z$size
done

note "at the same time"
n=$(sectors_of "$loop")
table="0 $n linear $loop 0"
dm_create under "$table" -r
dm_create z "0 587 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/zf65536")" -r
reads_of under
before=$reads
read_together 1 8 lower
expect_eq "the reads" "$statuses" " read read read read read read read read"
reads_of under
expect_eq "lower reads" "$reads" $((before + 1))
count_of z blocks_decompressed
expect_eq "blocks decompressed" "$count" 1
cat "$CASE_TMP"/part? >"$CASE_TMP/out"
dd if="$CASE_TMP/zf65536.content" of="$CASE_TMP/wanted" bs=32768 skip=3 count=1 2>/dev/null
expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/wanted"

note "at the same time, and it cannot be read"
dm_create bad "0 $(sectors_of "$loop") error" -r
before=$reads
read_together 2 0 lower "0 $(sectors_of "$loop") linear /dev/mapper/bad 0"
expect_eq "the reads" "$statuses" " EIO EIO EIO EIO EIO EIO EIO EIO"
reads_of under
expect_eq "lower reads" "$reads" $((before + 1))
count_of z read_errors
expect_eq "read errors" "$count" 1
# A cached block can still be read.
read_together 1 0 cached
expect_eq "the reads" "$statuses" " read read read read read read read read"

note "healed"
dmsetup load under -r --table "$table"
dmsetup resume under
random_reads /dev/mapper/z "$CASE_TMP/zf65536.content" 50 --seed 1 --threads 2
dm_remove z
dm_remove under
dm_remove bad
expect_ok rmmod dm_overlaybd

# halves FIRST COUNT: reads these blocks of 8 KiB, each by two reads.
halves() {
	dd if=/dev/mapper/z of="$CASE_TMP/part" bs=4096 skip=$(($1 * 2)) count=$(($2 * 2)) \
		iflag=direct status=none
}

# expect_kept BLOCKS COUNT: of blocks read in order the last are kept, COUNT of them.
expect_kept() {
	dm_create z "0 1280 zfile_target $loop $(stat -c %s "$CASE_TMP/many")" -r
	halves 0 "$1"
	halves $(($1 - $2)) "$2"
	count_of z blocks_decompressed
	expect_eq "blocks decompressed" "$count" "$1"
	count_of z cache_hits
	expect_eq "reads answered" "$count" $(($1 + $2 * 2))
	halves 0 1
	count_of z blocks_decompressed
	expect_eq "blocks decompressed" "$count" $(($1 + 1))
	dm_remove z
}

mkimage zfile "$CASE_TMP/many" --bytes 655360 --block-size 8192
before=$loop
loop_of "$CASE_TMP/many"
note "64 blocks at most"
expect_ok insmod "$MODULE" block_cache_kib=2048
expect_kept 80 64
expect_ok rmmod dm_overlaybd
note "as many as block_cache_kib allows"
expect_ok insmod "$MODULE" block_cache_kib=71
expect_kept 16 8
expect_ok rmmod dm_overlaybd
loop=$before

note "without a cache"
expect_ok insmod "$MODULE" block_cache_kib=0
dm_create z "0 587 zfile_target $loop $(stat -c %s "$CASE_TMP/zf65536")" -r
dd if=/dev/mapper/z of="$CASE_TMP/out" bs=4096 iflag=direct 2>/dev/null
expect_ok cmp "$CASE_TMP/out" "$CASE_TMP/zf65536.content"
count_of z blocks_decompressed
expect_eq "blocks decompressed" "$count" 74
count_of z cache_hits
expect_eq "reads answered" "$count" 0
dm_remove z
expect_ok rmmod dm_overlaybd
