#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The lower read for a read ahead does not read ahead itself: a disk may fail such a read at will,
# and other reads wait for its block. dm-zero fails each of them.
#
# timeout: 60
# only: debug
. /overlaybd/tests/vm/lib.sh

has_target zero || lacks "zero target"

for size in 4096 65536; do
	note "blocks of $size"
	mkimage zfile "$CASE_TMP/$size" --bytes 1048576 --block-size $size
	loop_of "$CASE_TMP/$size"
	n=$(sectors_of "$loop")
	# From the second sector on, the data of the first block and of others is zeros.
	dm_create under "0 1 linear $loop 0
1 7 zero
8 $((n - 8)) linear $loop 8" -r
	dm_create z "0 2048 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/$size")" -r
	expect_eio dd if=/dev/mapper/z of=/dev/null bs=64k count=1 status=none
	count_of z read_errors
	expect_eq "reads that the disk has failed" "$count" 0
	count_of z crc_errors
	[ "$count" -gt 0 ] || fail "nothing that the disk changed was read: $(info_of z)"
	dm_remove z
	dm_remove under
done
