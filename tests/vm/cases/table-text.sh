#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What `dmsetup table` prints creates the same device when it is loaded again. A status never writes
# past a buffer, however small, and reports one that is too small. The lower devices are named as
# dependencies.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

stack_of s 32768 lsmt/fs0_lz4_4k.zlsmt lsmt/fs1_lz4_4k_tar.tar lsmt/fs2_raw.lsmt
blkcheck hash /dev/mapper/s --save "$CASE_TMP/s" >/dev/null

for name in s s.0; do
	table=$(dmsetup table $name)
	note "$name: $table"
	dm_create again "$table" -r
	expect_eq "table loaded again" "$(dmsetup table again)" "$table"
	# Each device counts its own reads.
	expect_eq "status of both" "$(dmsetup status again | sed 's/ blocks_decompressed.*//')" \
		"$(dmsetup status $name | sed 's/ blocks_decompressed.*//')"
	dm_remove again
	expect_eq "table in every buffer" "$(dmcheck status $name --table)" "${table#* * * }"
	expect_eq "status in every buffer" "$(dmcheck status $name)" "$(info_of $name)"
done
expect_eq "targets" "$(dmsetup table s | cut -d' ' -f1-3)" "0 32768 lsmt_target"
expect_eq "dependencies" "$(dmsetup deps s | cut -c1)" 3
expect_eq "dependencies" "$(dmsetup deps s.0 | cut -c1)" 1

note "several targets in one table"
zfile=$(dmsetup table s.0)
zfile="zfile_target ${zfile#* * * }"
stack=$(dmsetup table s)
stack="lsmt_target ${stack#* * * }"
dm_create many "0 100 $zfile
100 200 $stack
300 10 $zfile" -r
dmsetup table many >"$CASE_TMP/table"
expect_eq lines "$(wc -l <"$CASE_TMP/table")" 3
dm_create again "$(cat "$CASE_TMP/table")" -r
expect_eq "table loaded again" "$(dmsetup table again)" "$(cat "$CASE_TMP/table")"
expect_eq "tables in every buffer" "$(dmcheck status many --table)" \
	"$(cut -d' ' -f4- "$CASE_TMP/table")"
expect_ok cmp -n $((310 * 512)) /dev/mapper/again /dev/mapper/many

note "statuses asked for while the device is reloaded"
dmcheck reload s "$(dmsetup table s)" --count 20 &
reloader=$!
while kill -0 $reloader 2>/dev/null; do
	case $(dmsetup status s) in
	"0 32768 lsmt_target layers 3 segments "*) ;;
	*) fail "the status is '$(dmsetup status s)'" ;;
	esac
done
wait $reloader || fail "reloading failed"
