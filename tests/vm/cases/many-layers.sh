#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A stack of 255 different layers, each visible somewhere, holds the right bytes. Its table line,
# far longer than the status of other targets, is complete in any buffer or not returned at all, and
# creates the same device when it is loaded again. A 256th layer is refused.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

mkimage stack "$CASE_TMP/made" --layers 255 --seed 7
loop_of "$CASE_TMP/made/layers"
tables=
args=
names=
n=0
while read -r first sectors; do
	n=$((n + 1))
	tables="$tables;layer$n,,,ro,0 $sectors linear $loop $first"
	names="$names layer$n"
	args="$args /dev/mapper/layer$n $((sectors * 512))"
done <"$CASE_TMP/made/table"
expect_eq layers $n 255
expect_ok dmsetup create --concise "${tables#;}"
undo_add "dmsetup remove$names"

sectors=$(($(stat -c %s "$CASE_TMP/made/content") / 512))
dm_create s "0 $sectors lsmt_target$args" -r
expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/made/content" --unit 65536
random_reads /dev/mapper/s "$CASE_TMP/made/content" 200 --seed 1
case $(info_of s) in
"layers 255 segments "*) ;;
*) fail "the status is '$(info_of s)'" ;;
esac

table=$(dmsetup table s)
line=${table#* * * }
expect_eq "words of the line" "$(printf '%s\n' "$line" | wc -w)" 510
expect_eq "line in every buffer" "$(dmcheck status s --table)" "$line"
expect_eq "status in every buffer" "$(dmcheck status s)" "$(info_of s)"
dm_create again "$table" -r
expect_eq "the table loaded again" "$(dmsetup table again)" "$table"
expect_ok cmp /dev/mapper/again "$CASE_TMP/made/content"
refused "Too many layers" EINVAL "0 $sectors lsmt_target$args /dev/mapper/layer1 4096"
