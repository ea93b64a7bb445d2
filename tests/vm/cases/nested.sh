#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# ZFiles in ZFiles on a device that answers at once: each decompresses where the read of the one below
# ends, on the same stack, as long as there is enough of it left. So many of them would not fit. With
# KASAN, where stacks are twice as large and devices slow to make, there are fewer, which would. A read
# that fails below them comes up through all of them.
#
# timeout: 240
. /overlaybd/tests/vm/lib.sh

levels=60
if grep -q ' kasan_quarantine_put$' /proc/kallsyms; then
	levels=8
fi
bytes=262144
mkimage zfile "$CASE_TMP/zf" --bytes $bytes
mv "$CASE_TMP/zf.content" "$CASE_TMP/content"
# Made from the innermost outwards, and opened the other way round.
set -- "$((bytes / 512)) $(stat -c %s "$CASE_TMP/zf")"
while [ $# -lt $levels ]; do
	truncate -s %512 "$CASE_TMP/zf"
	mv "$CASE_TMP/zf" "$CASE_TMP/inner"
	mkimage zfile "$CASE_TMP/zf" --content "$CASE_TMP/inner"
	set -- "$(($(stat -c %s "$CASE_TMP/inner") / 512)) $(stat -c %s "$CASE_TMP/zf")" "$@"
done
dd if="$CASE_TMP/zf" of=/dev/ram0 bs=1M conv=fsync status=none

sectors=$(sectors_of /dev/ram0)
dm_create disk "0 $sectors linear /dev/ram0 0" -r
lower=/dev/mapper/disk
level=0
for outer; do
	dm_create nested$level "0 ${outer% *} zfile_target $lower ${outer#* }" -r
	lower=/dev/mapper/nested$level
	level=$((level + 1))
done
for unit in 4096 65536; do
	expect_ok blkcheck sweep "$lower" "$CASE_TMP/content" --unit $unit
done
note "a read that fails below all of them"
dmsetup load disk -r --table "0 $sectors error"
dmsetup resume disk
expect_fail dd if="$lower" of=/dev/null bs=64k count=1 iflag=direct status=none
while [ $level -gt 0 ]; do
	level=$((level - 1))
	dm_remove nested$level
done
