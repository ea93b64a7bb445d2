#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The offset of a lower device's chunks and physical blocks, and the length of reads that it
# prefers, say nothing about the sectors of a target. The target's queue limits must not repeat
# them. Without a preferred length the kernel reads ahead its default.
#
# timeout: 120
# only: debug
. /overlaybd/tests/vm/lib.sh

# limits_of NAME: prints chunk_sectors, alignment_offset and optimal_io_size.
limits_of() {
	lm_disk=/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor --separator : "$1")
	echo "chunk_sectors $(cat "$lm_disk/queue/chunk_sectors")" \
		"alignment_offset $(cat "$lm_disk/alignment_offset")" \
		"optimal_io_size $(cat "$lm_disk/queue/optimal_io_size")"
}

# read_ahead_of NAME: prints its read_ahead_kb.
read_ahead_of() {
	ra_disk=/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor --separator : "$1")
	cat "$ra_disk/queue/read_ahead_kb"
}

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
about malformed $image
zfile_bytes=$of_bytes
zfile_sha256=$of_content_sha256
about malformed $layer
layer_bytes=$of_bytes
cleared='chunk_sectors 0 alignment_offset 0 optimal_io_size 0'

note "a striped device has chunks"
# Not smaller than the physical blocks of the ramdisks, which are pages.
chunk=$(($(page_bytes) / 512))
[ $chunk -gt 32 ] || chunk=32
dm_create striped "0 256 striped 2 $chunk /dev/ram0 0 /dev/ram1 0"
dd if="$IMAGES/$image" of=/dev/mapper/striped bs=64k conv=fsync status=none
expect_eq "limits of the striped device" "$(limits_of striped)" \
	"chunk_sectors $chunk alignment_offset 0 optimal_io_size $((chunk * 512 * 2))"
dm_create z "0 129 zfile_target /dev/mapper/striped $zfile_bytes" -r
expect_eq "limits of zfile_target" "$(limits_of z)" "$cleared"
expect_eq "read-ahead of zfile_target" "$(read_ahead_of z)" 128
holds /dev/mapper/z "$zfile_sha256"
dm_remove z
dd if="$IMAGES/$layer" of=/dev/mapper/striped bs=64k conv=fsync status=none
dm_create s "0 8 lsmt_target /dev/mapper/striped $layer_bytes" -r
expect_eq "limits of lsmt_target" "$(limits_of s)" "$cleared"
expect_eq "read-ahead of lsmt_target" "$(read_ahead_of s)" 128
dm_remove s

note "a device that begins within a physical block of 64 KiB"
sectors=$((($(stat -c %s "$IMAGES/$image") + 511) / 512))
dd if=/dev/zero of="$CASE_TMP/shifted" bs=512 count=1 status=none
cat "$IMAGES/$image" >>"$CASE_TMP/shifted"
mkimage zfile "$CASE_TMP/outer" --content "$CASE_TMP/shifted" --block-size 65536
loop_of "$CASE_TMP/outer"
dm_create outer "0 $((sectors + 1)) zfile_target $loop $(stat -c %s "$CASE_TMP/outer")" -r
dm_create part "0 $sectors linear /dev/mapper/outer 1" -r
expect_eq "limits of the part" "$(limits_of part)" \
	"chunk_sectors 0 alignment_offset 65024 optimal_io_size 0"
dm_create z "0 129 zfile_target /dev/mapper/part $zfile_bytes" -r
expect_eq "limits of zfile_target" "$(limits_of z)" "$cleared"
expect_eq "read-ahead of zfile_target" "$(read_ahead_of z)" 128
holds /dev/mapper/z "$zfile_sha256"
