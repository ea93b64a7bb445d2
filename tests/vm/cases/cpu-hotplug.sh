#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A CPU goes offline and comes back while threads read, with ZSTD, whose contexts are allocated for
# the CPUs that are online, and with LZ4. So does one that was offline when the device was created.
# Where there are fewer contexts than CPUs, reads wait for each other. All reads must return the
# right bytes.
#
# timeout: 300
# only: debug
# module: none
. /overlaybd/tests/vm/lib.sh

cpu=/sys/devices/system/cpu/cpu1/online
[ -w $cpu ] || lacks "CPU that can go offline"
online() {
	echo "$1" >$cpu
}
undo_add online 1

mkimage zfile "$CASE_TMP/zstd" --bytes 1048576 --block-size 65536 --zstd
for disk in file ramdisk; do
	# A ramdisk completes reads in the task that reads, which cannot wait for a context.
	note "one context for all CPUs, on a $disk"
	expect_ok insmod "$MODULE"
	online 0
	if [ $disk = file ]; then
		loop_of "$CASE_TMP/zstd"
		lower=$loop
	else
		dd if="$CASE_TMP/zstd" of=/dev/ram0 bs=1M conv=fsync status=none
		lower=/dev/ram0
	fi
	dm_create z "0 2048 zfile_target $lower $(stat -c %s "$CASE_TMP/zstd")" -r
	online 1
	random_reads /dev/mapper/z "$CASE_TMP/zstd.content" 60 --threads 8 --seed 1 --direct-only
	dm_remove z
	expect_ok rmmod dm_overlaybd
done

expect_ok insmod "$MODULE"
for kind in "4096" "65536 --zstd"; do
	for first in 1 0; do
		note "blocks of $kind, created with the CPU at $first"
		rm -f "$CASE_TMP/stop" "$CASE_TMP/ready"
		# shellcheck disable=SC2086
		[ -e "$CASE_TMP/$kind" ] ||
			mkimage zfile "$CASE_TMP/$kind" --bytes 1048576 --block-size $kind
		loop_of "$CASE_TMP/$kind"
		online $first
		dm_create z "0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/$kind")" -r
		blkcheck compare /dev/mapper/z "$CASE_TMP/$kind.content" --threads 4 \
			--ready "$CASE_TMP/ready" --until "$CASE_TMP/stop" >"$CASE_TMP/out" 2>&1 &
		reader=$!
		eventually 60 test -e "$CASE_TMP/ready"
		for _ in 1 2 3 4 5; do
			online $((1 - first))
			sleep 0.2
			online $first
			sleep 0.2
		done
		: >"$CASE_TMP/stop"
		wait $reader || fail "$(cat "$CASE_TMP/out")"
		read -r _ reads _ <"$CASE_TMP/out"
		[ "$reads" -ge 50 ] || fail "there was hardly any load: $reads reads"
		online 1
		random_reads /dev/mapper/z "$CASE_TMP/$kind.content" 20 --threads 4 --seed 1
		dm_remove z
		loop_detach "$loop"
	done
done
