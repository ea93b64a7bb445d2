#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A task that loads a table with a long index from a slow device can be killed, and leaves nothing
# open.
#
# timeout: 120
# only: debug
. /overlaybd/tests/vm/lib.sh

# The index is read in 17 pieces of 64 KiB, each of which takes two seconds.
mkimage layer "$CASE_TMP/layer" --extents 66000
loop_of "$CASE_TMP/layer"
dm_create slow "0 $(sectors_of "$loop") delay $loop 0 2000" -r
table="0 8 lsmt_target /dev/mapper/slow $(stat -c %s "$CASE_TMP/layer")"
dmsetup create killed -r --table "$table" >"$CASE_TMP/out" 2>&1 &
loader=$!
eventually 20 grep -q '^State:.*D' "/proc/$loader/status"
kill -KILL $loader
# The task may wait for the end of one piece.
eventually 12 [ ! -e /proc/$loader ]
wait $loader && fail "dmsetup ended as if nothing had happened"
# dmsetup had created the device already, and could no longer remove it.
expect_eq "the tables it has" "$(dmsetup table killed)" ""
dmsetup remove killed
expect_eq "what uses the slow device" "$(dmsetup info -c --noheadings -o open slow | tr -d ' ')" 0
