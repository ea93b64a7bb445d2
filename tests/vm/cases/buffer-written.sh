#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A program writes to the memory that its direct reads go to, while they are under way. What it
# finds there is chance, but no read fails, nothing behind the memory changes, and no other read
# gets wrong bytes: blocks that are cached hold none of what the program wrote.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

for kind in "4096" "65536" "4096 --zstd" "65536 --zstd"; do
	note "blocks of $kind"
	rm -f "$CASE_TMP/made.padded" "$CASE_TMP/stop" "$CASE_TMP/ready"
	# shellcheck disable=SC2086
	mkimage zfile "$CASE_TMP/made" --bytes 1048576 --block-size $kind
	loop_of "$CASE_TMP/made"
	dm_create z "0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/made")" -r
	blkcheck compare /dev/mapper/z "$CASE_TMP/made.content" --ready "$CASE_TMP/ready" \
		--until "$CASE_TMP/stop" >"$CASE_TMP/out" 2>&1 &
	reader=$!
	eventually 60 test -e "$CASE_TMP/ready"
	if ! blkcheck overwritten /dev/mapper/z --reads 40 >"$CASE_TMP/written" 2>&1; then
		! grep -q "Function not implemented" "$CASE_TMP/written" || lacks io_uring
		fail "$(cat "$CASE_TMP/written")"
	fi
	expect_ok blkcheck overwritten /dev/mapper/z --reads 100 --max-bytes 4096
	: >"$CASE_TMP/stop"
	wait $reader || fail "$(cat "$CASE_TMP/out")"
	random_reads /dev/mapper/z "$CASE_TMP/made.content" 20 --seed 1
	for counter in read_errors crc_errors decompress_errors; do
		count_of z $counter
		expect_eq "$counter" "$count" 0
	done
	dm_remove z
	loop_detach "$loop"
done
