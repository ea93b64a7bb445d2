#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reads with RWF_NOWAIT: a stack of raw layers answers them. A ZFile, whose reads wait for memory,
# declines them, and so does a stack on one. No read may fail for another reason.
#
# timeout: 240
. /overlaybd/tests/vm/lib.sh

# counts DEVICE FILE: reads the device, which must hold what the file does; sets $answered and
# $refused.
counts() {
	blkcheck compare "$1" "$2" --reads 300 --seed 1 >"$CASE_TMP/out" 2>&1 ||
		fail "$(cat "$CASE_TMP/out")"
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
report "a stack of raw layers answered $answered of $((answered + refused))"
counts /dev/mapper/z "$CASE_TMP/z"
expect_eq "answered by a ZFile" "$answered" 0
counts /dev/mapper/zipped "$CASE_TMP/content"
expect_eq "answered by a stack on a ZFile" "$answered" 0
