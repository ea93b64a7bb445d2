#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reads with RWF_NOWAIT: stacks of layers and ZFiles answer them, also where a block is larger than
# the read and goes through the cache. A disk that waits for a free request declines some. No read
# may fail for another reason, and none may hold wrong data. Reads that wait go on beside them.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# counts DEVICE FILE: reads the device, which must hold what the file does; sets $answered and
# $refused.
counts() {
	blkcheck compare "$1" "$2" --reads "${3:-300}" --seed 1 --threads "${4:-1}" \
		>"$CASE_TMP/out" 2>&1 || fail "$(cat "$CASE_TMP/out")"
	answered=$(sed 's/.*nowait_answered \([0-9]*\).*/\1/' "$CASE_TMP/out")
	refused=$(sed 's/.*nowait_refused \([0-9]*\).*/\1/' "$CASE_TMP/out")
	note "$1: answered $answered, refused $refused"
	[ $((answered + refused)) -ge 10 ] || fail "hardly any read was of that kind"
}

loop_of "$IMAGES/lsmt/fs2_raw.lsmt"
about layers lsmt/fs2_raw.lsmt
dm_create raw "0 32768 lsmt_target $loop $of_payload_bytes" -r
blkcheck hash /dev/mapper/raw --save "$CASE_TMP/content" >/dev/null
zfile_of z lsmt/fs2_lz4_4k.zlsmt
blkcheck hash "$dev" --save "$CASE_TMP/z" >/dev/null
dm_create zipped "0 32768 lsmt_target $dev $dev_bytes" -r

counts /dev/mapper/raw "$CASE_TMP/content"
[ "$answered" -gt 0 ] || fail "a stack of raw layers never answers"
did="a stack of raw layers answered $answered of $((answered + refused))"
counts /dev/mapper/z "$CASE_TMP/z"
[ "$answered" -gt 0 ] || fail "a ZFile never answers"
did="$did, a ZFile $answered of $((answered + refused))"
counts /dev/mapper/zipped "$CASE_TMP/content"
[ "$answered" -gt 0 ] || fail "a stack on a ZFile never answers"

# A disk with one request: the second read that does not wait is declined. Blocks of 64 KiB go
# through the cache, where a read that was declined may have been the one that others wait for.
null_disk narrow 8 irqmode=2 completion_nsec=1000 hw_queue_depth=1 submit_queues=1
for size in 4096 65536; do
	note "blocks of $size on a disk with one request"
	mkimage zfile "$CASE_TMP/$size" --bytes 1048576 --block-size $size
	dd if="$CASE_TMP/$size" of=/dev/narrow bs=1M conv=fsync status=none
	dm_create n "0 2048 zfile_target /dev/narrow $(stat -c %s "$CASE_TMP/$size")" -r
	counts /dev/mapper/n "$CASE_TMP/$size.content" 60 8
	[ "$answered" -gt 0 ] || fail "never answered"
	[ "$refused" -gt 0 ] || fail "never declined"
	did="$did, one with blocks of $size on a disk with one request $answered of"
	did="$did $((answered + refused))"
	count_of n read_errors
	expect_eq "errors that were counted" "$count" 0
	dm_remove n
done

# Others do not wait for a block that a read fills which may be declined: what becomes of it would
# be the wrong error for them.
note "a slow disk that cannot read the block"
null_disk slow 8 irqmode=2 completion_nsec=20000000
dd if="$CASE_TMP/65536" of=/dev/slow bs=1M conv=fsync status=none
dm_create n "0 2048 zfile_target /dev/slow $(stat -c %s "$CASE_TMP/65536")" -r
echo +2-4 >/sys/kernel/config/nullb/slow/badblocks
pids=
for ways in --nowait-only --direct-only; do
	blkcheck compare /dev/mapper/n "$CASE_TMP/65536.content" --bytes 65536 --reads 30 \
		--threads 4 --max-bytes 4096 --seed 1 --bad 0+65536 $ways \
		>"$CASE_TMP/out.$ways" 2>&1 &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "$(cat "$CASE_TMP"/out.*)"
done
dm_remove n

# The lower device is given a table without the feature, which the device above still promises.
note "a lower device that no longer answers"
if has_target flakey; then
	sectors=$(sectors_of /dev/narrow)
	dm_create under "0 $sectors linear /dev/narrow 0" -r
	dm_create n "0 2048 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/65536")" -r
	dmsetup load under -r --table "0 $sectors flakey /dev/narrow 0 1000 0"
	dmsetup resume under
	counts /dev/mapper/n "$CASE_TMP/65536.content" 60 4
	[ "$refused" -gt 0 ] || fail "never declined"
	count_of n read_errors
	expect_eq "errors that were counted" "$count" 0
	dm_remove n
	dm_remove under
fi
report "$did"
