#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Where the content does not end with a sector, the rest of its last sector must be zeros, and the
# device ends there.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

for file in zfile/odd_1000003_lz4_4k_crc.zf zfile/one_lz4_4k_crc.zf; do
	note $file
	about zfiles $file || fail "it is not in the set of images"
	content=$of_content_bytes
	zfile_of z $file
	whole=$(((content + 511) / 512 * 512))
	expect_eq size "$(bytes_of "$dev")" $whole
	blkcheck hash "$dev" --bytes "$content" --save "$CASE_TMP/content" >"$CASE_TMP/hash"
	expect_eq sha256 "$(cat "$CASE_TMP/hash")" "$of_content_sha256"
	# The whole last sector in several ways: directly, buffered, alone and with those before it.
	cp "$CASE_TMP/content" "$CASE_TMP/padded"
	truncate -s $whole "$CASE_TMP/padded"
	tail -c 512 "$CASE_TMP/padded" >"$CASE_TMP/last"
	dd if="$dev" of="$CASE_TMP/read" bs=512 skip=$((whole / 512 - 1)) iflag=direct status=none
	expect_ok cmp "$CASE_TMP/read" "$CASE_TMP/last"
	tail -c 512 "$dev" >"$CASE_TMP/read"
	expect_ok cmp "$CASE_TMP/read" "$CASE_TMP/last"
	expect_ok cmp "$dev" "$CASE_TMP/padded"
	expect_ok blkcheck sweep "$dev" "$CASE_TMP/content" --unit 4096
	dm_remove z
done

# The same with generated content, of lengths around the ends of sectors and of blocks.
for bytes in 511 513 4095 4097 65535 65537 70001; do
	for block_size in 512 65536; do
		# Large blocks with content of any length, small blocks with the longer content.
		[ $block_size = 65536 ] || [ $bytes -gt 4095 ] || continue
		note "$bytes bytes in blocks of $block_size"
		mkimage zfile "$CASE_TMP/made" --bytes $bytes --block-size $block_size
		rm -f "$CASE_TMP/made.padded"
		loop_of "$CASE_TMP/made"
		sectors=$(((bytes + 511) / 512))
		dm_create z "0 $sectors zfile_target $loop $(stat -c %s "$CASE_TMP/made")" -r
		expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/made.content"
		random_reads /dev/mapper/z "$CASE_TMP/made.content" 30 --seed $bytes
		dm_remove z
		loop_detach "$loop"
	done
done
