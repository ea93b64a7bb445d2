#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The integrity measurement architecture (IMA) records for each table which devices and lengths the
# target has.
#
# timeout: 240
. /overlaybd/tests/vm/lib.sh

measured=/sys/kernel/security/ima/ascii_runtime_measurements
[ -e $measured ] || fail "the kernel has no IMA"

stack_of s 32768 lsmt/fs0_lz4_4k.zlsmt lsmt/fs2_raw.lsmt
zfile=$(dmsetup table s.0)
# shellcheck disable=SC2086 # its words
set -- ${zfile#* * * }
zdev=$1
zbytes=$2
stack=$(dmsetup table s)
# shellcheck disable=SC2086
set -- ${stack#* * * }

# The last column has the measured text in hexadecimal.
grep -F dm_table_load $measured | awk '{ print $NF "0a" }' | xxd -r -p >"$CASE_TMP/texts"
expect_line() {
	grep -qF "$1" "$CASE_TMP/texts" ||
		fail "'$1' is not measured, but: $(tail -n 3 "$CASE_TMP/texts")"
}
expect_line "target_name=zfile_target,target_version=1.0.0,device_name=$zdev,zfile_bytes=$zbytes;"
layers="device_name_0=$1,bytes_0=$2,device_name_1=$3,bytes_1=$4"
expect_line "target_name=lsmt_target,target_version=1.0.0,layers=2,$layers;"
