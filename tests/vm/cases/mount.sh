#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The ext4 on a stack is mounted, and every file compared with that of a mount of the same content
# from a plain file; twice, and by several readers at once.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

reference_stack s "$CASE_TMP/content"
loop_of "$CASE_TMP/content"

# describe DIR: prints type, size, mode and owner of all entries, and the sha256 of every file.
describe() {
	(
		cd "$1" || exit
		find . -exec stat -c '%n %F %s %a %u:%g' {} +
		find . -type f -exec sha256sum {} +
	) | sort
}

mount_ro "$loop" "$CASE_TMP/plain" -t ext4
describe "$CASE_TMP/plain" >"$CASE_TMP/want"
files=$(grep -c '  \./' "$CASE_TMP/want")
note "$files files"
[ "$files" -gt 3 ] || fail "there are only $files files"

for round in 1 2; do
	mount_ro /dev/mapper/s "$CASE_TMP/mnt" -t ext4
	pids=
	for reader in 1 2; do
		describe "$CASE_TMP/mnt" >"$CASE_TMP/read.$reader" &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || fail "a reader failed"
	done
	for reader in 1 2; do
		expect_ok cmp "$CASE_TMP/read.$reader" "$CASE_TMP/want"
	done
	expect_fail touch "$CASE_TMP/mnt/new"
	unmount "$CASE_TMP/mnt"
	echo 3 >/proc/sys/vm/drop_caches
	note "round $round done"
done
