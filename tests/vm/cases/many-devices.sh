#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Fifty processes at a time create fifty devices on one lower device, read them, and remove them.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
about malformed $image
bytes=$of_bytes
sha256=$of_content_sha256
loop_of "$IMAGES/$image"
lower=$loop
names=
n=0
while [ $n -lt 50 ]; do
	names="$names m$n"
	n=$((n + 1))
done

# all COMMAND: runs it for each name at the same time.
all() {
	pids=
	for name in $names; do
		"$1" "$name" >"$CASE_TMP/out.$name" 2>&1 &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || fail "$1: $(cat "$CASE_TMP"/out.* | sort | uniq -c | head -n 5)"
	done
}

create() {
	dmsetup create "$1" -r --table "0 129 zfile_target $lower $bytes"
}

remove() {
	dmsetup remove "$1"
}

all create
for name in $names; do
	undo_add "dmsetup remove $name"
done
expect_eq "module references" "$(module_references)" 50
pids=
for name in $names; do
	blkcheck hash "/dev/mapper/$name" >"$CASE_TMP/hash.$name" &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "a device cannot be read"
done
expect_eq "contents" "$(sort "$CASE_TMP"/hash.* | uniq -c | tr -s ' ')" " 50 $sha256"
for name in $names; do
	undo_drop "dmsetup remove $name"
done
all remove
expect_eq "module references" "$(module_references)" 0
