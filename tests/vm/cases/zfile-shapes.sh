#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# ZFiles of every block size from 512 bytes to 64 KiB, LZ4 and ZSTD, with and without CRCs and
# digests, with the header overwritten or not; content of zeros, repetitions and noise, so that
# stored blocks are shorter and longer than their content.
#
# timeout: 400
# only: debug
. /overlaybd/tests/vm/lib.sh

n=0
for block_size in 512 1024 2048 4096 8192 16384 32768 65536; do
	n=$((n + 1))
	# Each flag is used with small and with large blocks.
	case $((n % 3)) in
	0) lz4="--no-digest" zstd="--zstd" ;;
	1) lz4="" zstd="--zstd --overwrite-header --no-verify" ;;
	2) lz4="--no-verify --overwrite-header" zstd="--zstd --no-digest" ;;
	esac
	for flags in "$lz4" "$zstd"; do
		# Several blocks, the last one partial, and whole sectors.
		bytes=$((block_size * 4 + 65536 + n * 512))
		note "blocks of $block_size, $bytes bytes, $flags"
		rm -f "$CASE_TMP/made.padded"
		# shellcheck disable=SC2086
		mkimage zfile "$CASE_TMP/made" --bytes $bytes --block-size $block_size --seed $n \
			$flags
		loop_of "$CASE_TMP/made"
		dm_create z \
			"0 $((bytes / 512)) zfile_target $loop $(stat -c %s "$CASE_TMP/made")" -r
		random_reads /dev/mapper/z "$CASE_TMP/made.content" 60 --seed $n
		expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/made.content" --unit 49664
		dm_remove z
		loop_detach "$loop"
	done
done
