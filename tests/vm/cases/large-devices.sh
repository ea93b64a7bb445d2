#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# An image of more than 2 TiB, and one of more than 16, whose data lies even further in the layer's
# file: no number of sectors or bytes is cut on the way.
#
# timeout: 120
# only: stock
. /overlaybd/tests/vm/lib.sh

for tib in 3 17; do
	note "an image of $tib TiB"
	mkimage far "$CASE_TMP/far" --tib $tib
	loop_of "$CASE_TMP/far"
	bytes=$(stat -c %s "$CASE_TMP/far")
	[ "$bytes" -gt $((tib << 40)) ] || fail "the file has $bytes bytes"
	dm_create s "0 $((tib << 31)) lsmt_target $loop $bytes" -r
	expect_eq "its size" "$(bytes_of /dev/mapper/s)" $((tib << 40))
	n=0
	for place in 0 $((tib << 39)) $(((tib << 40) - 1048576)); do
		random_reads /dev/mapper/s "$CASE_TMP/far.content" 40 --seed $n \
			--device-offset $place --reference-offset $((n << 20)) --bytes 1048576
		n=$((n + 1))
	done
	# What is in no layer is zeros, up to the data and right behind it.
	head -c 1048576 /dev/zero >"$CASE_TMP/zeros"
	for place in 1048576 $(((tib << 39) - 1048576)) $(((tib << 39) + 1048576)) \
		$(((tib << 40) - 2097152)); do
		random_reads /dev/mapper/s "$CASE_TMP/zeros" 10 --seed 1 --device-offset $place
	done

	note "layers on it: a stack of the same layer twice, and a part of it by linear"
	dm_create s2 "0 $((tib << 31)) lsmt_target $loop $bytes $loop $bytes" -r
	random_reads /dev/mapper/s2 "$CASE_TMP/far.content" 20 --seed 3 \
		--device-offset $(((tib << 40) - 1048576)) --reference-offset 2097152
	dm_create part "0 2048 linear /dev/mapper/s2 $(((tib << 31) - 2048))" -r
	random_reads /dev/mapper/part "$CASE_TMP/far.content" 20 --seed 4 \
		--reference-offset 2097152
	dm_remove part
	dm_remove s2
	dm_remove s
	loop_detach "$loop"
done
