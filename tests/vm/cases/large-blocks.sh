#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# On a lower device with logical blocks of 4096 bytes a ZFile can still be read by 512-byte sectors.
# Layers there can be read if their segments are aligned to such blocks, and are refused by name if
# not. The layers of a stack may be on devices with blocks of different sizes.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# loop_in FILE BYTES: sets $loop to a loop device of blocks of that many bytes.
loop_in() {
	truncate -s %"$2" "$1"
	loop_of "$1" 0 --sector-size "$2"
	expect_eq "logical block size" "$(blockdev --getss "$loop")" "$2"
}

loop4k() {
	loop_in "$1" 4096
}

for block_size in 512 4096 65536; do
	note "a ZFile, blocks of $block_size"
	mkimage zfile "$CASE_TMP/zf$block_size" --bytes 300544 --block-size $block_size
	bytes=$(stat -c %s "$CASE_TMP/zf$block_size")
	loop4k "$CASE_TMP/zf$block_size"
	dm_create z$block_size "0 587 zfile_target $loop $bytes" -r
	expect_eq "logical block size" "$(blockdev --getss /dev/mapper/z$block_size)" 512
	random_reads /dev/mapper/z$block_size "$CASE_TMP/zf$block_size.content" 150 \
		--seed $block_size
	expect_ok blkcheck sweep /dev/mapper/z$block_size "$CASE_TMP/zf$block_size.content"
done

note "aligned layers"
mkimage stack "$CASE_TMP/aligned" --layers 3 --unit 8
loop4k "$CASE_TMP/aligned/layers"
layers_in "$CASE_TMP/aligned"
sectors=$(($(stat -c %s "$CASE_TMP/aligned/content") / 512))
dm_create s "0 $sectors lsmt_target$pairs" -r
expect_eq "logical block size" "$(blockdev --getss /dev/mapper/s)" 4096
expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/aligned/content" --unit 4096
expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/aligned/content" --unit 1048576

note "layers on devices of blocks of 512, 4096 and 16384 bytes"
mkimage stack "$CASE_TMP/mixed" --layers 3 --unit 32
pairs=
n=0
while read -r first sectors; do
	n=$((n + 1))
	size=$((n == 1 ? 16384 : n == 2 ? 512 : 4096))
	dd if="$CASE_TMP/mixed/layers" of="$CASE_TMP/mixed/$n" bs=512 skip="$first" \
		count="$sectors" status=none
	loop_in "$CASE_TMP/mixed/$n" $size
	pairs="$pairs $loop $((sectors * 512))"
done <"$CASE_TMP/mixed/table"
sectors=$(($(stat -c %s "$CASE_TMP/mixed/content") / 512))
dm_create m "0 $sectors lsmt_target$pairs" -r
expect_eq "logical block size" "$(blockdev --getss /dev/mapper/m)" 16384
expect_ok blkcheck sweep /dev/mapper/m "$CASE_TMP/mixed/content" --unit 16384
expect_ok blkcheck sweep /dev/mapper/m "$CASE_TMP/mixed/content" --unit 1048576
random_reads /dev/mapper/m "$CASE_TMP/mixed/content" 60 --seed 2 --unit 16384

note "layers that are not aligned"
mkimage stack "$CASE_TMP/odd" --layers 2
loop4k "$CASE_TMP/odd/layers"
layers_in "$CASE_TMP/odd"
refused "Segments are not aligned to the device's logical blocks" EINVAL \
	"0 $(($(stat -c %s "$CASE_TMP/odd/content") / 512 / 8 * 8)) lsmt_target$pairs" \
	"does not fit logical blocks of 4096 bytes"

note "a layer whose length is no multiple of a block, all of whose segments are"
# The same layer as it was committed, in a ZFile, has the right content.
stack_of committed 32768 lsmt/fs3_lz4_4k.zlsmt
committed_sha256=$(blkcheck hash /dev/mapper/committed)
sealed=lsmt/fs3_sealed.lsmt
about layers $sealed
expect_eq "what is left of the last block" "$((of_payload_bytes % 4096 > 0))" 1
cp "$IMAGES/$sealed" "$CASE_TMP/sealed"
loop4k "$CASE_TMP/sealed"
dm_create sealed "0 32768 lsmt_target $loop $of_payload_bytes" -r
holds /dev/mapper/sealed "$committed_sha256"

note "the same layers in ZFiles, which have sectors"
mkdir "$CASE_TMP/z"
pairs=
n=0
while read -r first sectors; do
	n=$((n + 1))
	dd if="$CASE_TMP/odd/layers" of="$CASE_TMP/layer" bs=512 skip="$first" count="$sectors" \
		status=none
	mkimage zfile "$CASE_TMP/z/$n" --content "$CASE_TMP/layer"
	bytes=$(stat -c %s "$CASE_TMP/z/$n")
	loop4k "$CASE_TMP/z/$n"
	dm_create "zl$n" "0 $sectors zfile_target $loop $bytes" -r
	pairs="$pairs /dev/mapper/zl$n $((sectors * 512))"
done <"$CASE_TMP/odd/table"
dm_create t "0 $(($(stat -c %s "$CASE_TMP/odd/content") / 512)) lsmt_target$pairs" -r
random_reads /dev/mapper/t "$CASE_TMP/odd/content" 100 --seed 1
