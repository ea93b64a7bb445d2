#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Several threads read one device at random while others read other devices. All must read the right
# bytes.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

zfile_of z zfile/odd512_lz4_1k_crc.zf
holds "$dev" "$of_content_sha256" "$CASE_TMP/z"
reference_stack s "$CASE_TMP/s"
zfile_of big zfile/rand1m_lz4_64k_crc.zf
holds "$dev" "$of_content_sha256" "$CASE_TMP/big"

note "eight threads on each of three devices"
pids=
for device in z s big; do
	blkcheck compare /dev/mapper/$device "$CASE_TMP/$device" --threads 8 --reads 60 --seed 1 \
		>"$CASE_TMP/out.$device" 2>&1 &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "$(cat "$CASE_TMP"/out.*)"
done
cat "$CASE_TMP"/out.*
