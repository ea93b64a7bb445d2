#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# max_index_mib bounds the index memory of one target, max_total_index_mib that of all targets
# together. A table that needs more is refused by name, and so is one that needs more memory than
# the machine has.
#
# timeout: 240
# only: stock
# module: none
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
loop_of "$IMAGES/$image"
about malformed $image
zfile="0 129 zfile_target $loop $of_bytes"
loop_of "$IMAGES/$layer"
about malformed $layer
stack="0 8 lsmt_target $loop $of_bytes"
mkimage layer "$CASE_TMP/big" --extents 66000
loop_of "$CASE_TMP/big"
big="0 8 lsmt_target $loop $(stat -c %s "$CASE_TMP/big")"

expect_ok insmod "$MODULE" max_index_mib=0
refused "Index is larger than max_index_mib" EFBIG "$zfile" "max_index_mib is 0"
refused "Index is larger than max_index_mib" EFBIG "$stack"
expect_ok rmmod dm_overlaybd

note "66000 entries take more than a MiB and less than two"
expect_ok insmod "$MODULE" max_index_mib=1
dm_create z "$zfile" -r
dm_create s "$stack" -r
refused "Index is larger than max_index_mib" EFBIG "$big" "max_index_mib is 1"
for extents in 65536 65537; do
	mkimage layer "$CASE_TMP/$extents" --extents $extents
	loop_of "$CASE_TMP/$extents"
	table="0 8 lsmt_target $loop $(stat -c %s "$CASE_TMP/$extents")"
	if [ $extents = 65536 ]; then
		dm_create full "$table" -r
		dm_remove full
	else
		refused "Index is larger than max_index_mib" EFBIG "$table"
	fi
done
note "the limit is that of all layers of a target: two of 40,000 entries take more than a MiB"
mkimage layer "$CASE_TMP/part" --extents 40000
loop_of "$CASE_TMP/part"
part="$loop $(stat -c %s "$CASE_TMP/part")"
dm_create one "0 8 lsmt_target $part" -r
refused "Index is larger than max_index_mib" EFBIG "0 8 lsmt_target $part $part"
dm_remove one
dm_remove z
dm_remove s
expect_ok rmmod dm_overlaybd

expect_ok insmod "$MODULE" max_index_mib=2
dm_create s "$big" -r
case $(info_of s) in
"layers 1 segments 66000 index_bytes 1056000") ;;
*) fail "the status is '$(info_of s)'" ;;
esac
dm_remove s
expect_ok rmmod dm_overlaybd

expect_ok insmod "$MODULE"
dm_create s "$big" -r
dm_remove s

note "a file of 4 GB, nearly all of it a hole, that says it has as many blocks as any may have"
mkimage claim "$CASE_TMP/claim" --blocks 1000000000
loop_of "$CASE_TMP/claim"
claim="0 8 zfile_target $loop $(stat -c %s "$CASE_TMP/claim")"
refused "Index is larger than max_index_mib" EFBIG "$claim" "max_index_mib is 256"
expect_ok rmmod dm_overlaybd

note "a quarter of the machine's memory, for all targets"
expect_ok insmod "$MODULE" max_index_mib=4096
refused "Indexes are larger than max_total_index_mib" ENOMEM "$claim" \
	"the index takes 2250000000 bytes, other indexes 0"
expect_ok rmmod dm_overlaybd

note "a MiB is room for an index, not for two; merging takes those of the layers as well"
expect_ok insmod "$MODULE" max_total_index_mib=1
mkimage layer "$CASE_TMP/half" --extents 24000
loop_of "$CASE_TMP/half"
half="0 8 lsmt_target $loop $(stat -c %s "$CASE_TMP/half")"
dm_create s "$half" -r
refused "Indexes are larger than max_total_index_mib" ENOMEM "$half" \
	"together they may take 1048576"
dm_remove s
dm_create s "$half" -r
dm_remove s
refused "Indexes are larger than max_total_index_mib" ENOMEM "$big"
expect_ok rmmod dm_overlaybd

expect_ok insmod "$MODULE" max_index_mib=4096 max_total_index_mib=4096
refused "Cannot allocate the index" ENOMEM "$claim" "no memory for an index of 2250000000 bytes"
expect_ok rmmod dm_overlaybd
expect_fail insmod "$MODULE" max_index_mib=many
