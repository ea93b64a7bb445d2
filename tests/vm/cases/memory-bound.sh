#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What a table may take of the machine's memory has a bound, whatever its image says: besides its
# index, a ZFile takes a reserve for one block and the block cache, and a stack takes nothing. Fifty
# devices of the most expensive images, with full caches, stay below it.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

! has_kasan || skip "KASAN keeps freed memory, and surrounds each allocation with more"
devices=50
mkimage zfile "$CASE_TMP/zf" --bytes 1048576 --block-size 65536
loop_of "$CASE_TMP/zf"
zfile="0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/zf")"
mkimage stack "$CASE_TMP/made" --layers 3
loop_of "$CASE_TMP/made/layers"
layers_in "$CASE_TMP/made"
stack="0 $(($(stat -c %s "$CASE_TMP/made/content") / 512)) lsmt_target$pairs"
dm_create lower "0 $(sectors_of "$loop") linear $loop 0" -r

# all TABLE: creates the devices of this table, reads a part of each block of each, and sets $each
# to the KiB that a device takes.
all() {
	concise=
	names=
	n=0
	while [ $n -lt $devices ]; do
		concise="$concise;m$n,,,ro,$1"
		names="$names m$n"
		n=$((n + 1))
	done
	before=$(used_kib)
	expect_ok dmsetup create --concise "${concise#;}"
	undo_add "dmsetup remove$names"
	for name in $names; do
		# Direct reads that begin within the blocks go through the cache.
		blkcheck compare "/dev/mapper/$name" "$2" --reads 40 --direct-only --seed 1 \
			--max-bytes 4096 >/dev/null
	done
	each=$((($(used_kib) - before) / devices))
	# shellcheck disable=SC2086
	dmsetup remove $names
	undo_drop "dmsetup remove$names"
}

# What any device takes: its queue, its mempools, its nodes in sysfs. The first ones fill the caches
# of the kernel.
all "0 $(sectors_of "$loop") linear /dev/mapper/lower 0" "$CASE_TMP/made/layers"
all "0 $(sectors_of "$loop") linear /dev/mapper/lower 0" "$CASE_TMP/made/layers"
any=$each
all "$stack" "$CASE_TMP/made/content"
stack=$((each - any))
all "$zfile" "$CASE_TMP/zf.content"
zfile=$((each - any))
report "besides the $any KiB of any device, a stack takes $stack KiB, a ZFile $zfile KiB"
# As Documentation/admin-guide says, and some pages more where these are large.
pages=$(($(page_bytes) * 6 / 1024 - 24))
[ $zfile -le $((512 + 192 + pages)) ] || fail "a ZFile takes $zfile KiB"
[ $stack -le $((16 + pages)) ] || fail "a stack takes $stack KiB"
[ $zfile -ge 448 ] || fail "the caches are not full: $zfile KiB"
