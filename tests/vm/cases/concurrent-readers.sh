#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Several threads read one device at random, and others read other devices at the same time; all read
# what they should.
#
# timeout: 300
. /overlaybd/tests/vm/lib.sh

zfile_of z zfile/odd512_lz4_1k_crc.zf
holds "$dev" "$of_content_sha256" "$CASE_TMP/z"
stack_of s 32768 lsmt/fs0_lz4_4k.zlsmt lsmt/fs1_lz4_4k_tar.tar lsmt/fs2_lz4_4k.zlsmt lsmt/fs3_lz4_4k.zlsmt
four=$(awk -F '\t' '$4 ~ /^lsmt\/fs0[^,]*,[^,]*,[^,]*,lsmt\/fs3[^,]*$/ { print $2; exit }' "$IMAGES/stacks.tsv")
holds /dev/mapper/s "$four" "$CASE_TMP/s"
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
