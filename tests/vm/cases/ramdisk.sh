#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A ramdisk completes reads in the task that reads, and that task decompresses: no read wakes a
# worker, short or long. One reader and several must read the right bytes, with LZ4 and with ZSTD.
#
# timeout: 240
# only: debug
. /overlaybd/tests/vm/lib.sh

bytes=8000000
for kind in "4096" "4096 --zstd" "65536" "65536 --zstd"; do
	note "blocks of $kind"
	# shellcheck disable=SC2086
	mkimage zfile "$CASE_TMP/zf" --bytes $bytes --block-size $kind
	dd if="$CASE_TMP/zf" of=/dev/ram0 bs=1M conv=fsync status=none
	dm_create z "0 $((bytes / 512)) zfile_target /dev/ram0 $(stat -c %s "$CASE_TMP/zf")" -r
	turns_of_workers
	for unit in 65536 524288 4194304; do
		expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit $unit
		turns_of_workers
		note "reads of $unit, $turns turns of workers"
		# Longer reads come in pieces of this size.
		piece=$((unit < 262144 ? unit : 262144))
		[ "$turns" -lt $((bytes / piece / 2)) ] || fail "workers had $turns turns"
	done
	random_reads /dev/mapper/z "$CASE_TMP/zf.content" 40 --seed 1 --threads 4 \
		--max-bytes 1048576
	dm_remove z
done
