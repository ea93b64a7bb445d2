#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tasks read through the page cache, and use memory that is swapped out meanwhile, in a cgroup with
# much less memory than they read: its pages are reclaimed while reads are under way. All reads must
# return the right bytes, and no task may be killed.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

root=/sys/fs/cgroup
group=$root/small
mount -t cgroup2 none $root
undo_add "umount $root"
[ -w $root/cgroup.subtree_control ] || lacks "cgroup of memory"
echo "+memory" >$root/cgroup.subtree_control
mkdir $group
undo_add "rmdir $group"

mkswap /dev/ram1 >/dev/null
swapon /dev/ram1 || lacks "swap"
undo_add "swapoff /dev/ram1"

# value_of FILE FIELD: prints the number after FIELD.
value_of() {
	awk -v field="$2" '$1 == field { print $2 }' "$1"
}

in_group() {
	echo 0 >$group/cgroup.procs
	exec "$@"
}

for kind in "4096" "65536" "65536 --zstd"; do
	note "blocks of $kind"
	rm -f "$CASE_TMP/zf.padded"
	# shellcheck disable=SC2086
	mkimage zfile "$CASE_TMP/zf" --bytes 33554432 --block-size $kind
	loop_of "$CASE_TMP/zf"
	dm_create z "0 65536 zfile_target $loop $(stat -c %s "$CASE_TMP/zf")" -r
	rm -f "$CASE_TMP/stop"
	echo max >$group/memory.max
	# Writes to 16 MiB of its own again and again.
	# shellcheck disable=SC2016 # The inner shell expands them.
	(in_group sh -c 'while [ ! -e "$1" ]; do
			awk "BEGIN { s = sprintf(\"%4000000s\", \"\"); t = s s s s }"
		done' hog "$CASE_TMP/stop") &
	hog=$!
	(in_group blkcheck compare /dev/mapper/z "$CASE_TMP/zf.content" --threads 4 --reads 60 \
		--seed 1 --max-bytes 1048576 >"$CASE_TMP/out" 2>&1) &
	reader=$!
	(in_group sh -c 'for _ in 1 2; do sha256sum /dev/mapper/z; done' >"$CASE_TMP/sums") &
	summer=$!
	echo 32M >$group/memory.max
	wait $reader || fail "$(cat "$CASE_TMP/out")"
	wait $summer || fail "sha256sum has failed"
	: >"$CASE_TMP/stop"
	wait $hog || fail "the task that uses memory has failed"
	wanted=$(sha256_of "$CASE_TMP/zf.content")
	expect_eq "sums" "$(cut -d' ' -f1 "$CASE_TMP/sums" | sort -u)" "$wanted"
	dm_remove z
	loop_detach "$loop"
done
limited=$(value_of $group/memory.events max)
swapped=$(value_of /proc/vmstat pswpout)
note "the limit was reached $limited times, $swapped pages were swapped out"
[ "$limited" -ge 100 ] || fail "the limit was hardly reached: $limited times"
[ "$swapped" -ge 100 ] || fail "hardly any page was swapped out: $swapped"
expect_eq "tasks that were killed" "$(value_of $group/memory.events oom_kill)" 0
report "$limited times at the limit, $swapped pages swapped out"
