#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Lower devices complete their reads in a hard interrupt, as NVMe disks do, or in a soft one. One
# reader and several must read the right bytes, and reads of bad sectors must fail. Small LZ4 blocks
# are decompressed in a softirq, without a worker. ZSTD wakes a worker for each read. A task that
# computes gets its share of a CPU whose small reads end in interrupts.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# A timer completes each read, in emulation at the next tick.
null_disk hard 8 irqmode=2 completion_nsec=1000
# With a polling queue, null_blk would complete reads in the task.
null_disk soft 8 irqmode=1 poll_queues=0

# Disk, blocks, and whether each read of one block wakes a worker; the cache keeps blocks of 64 KiB.
reads=24
for what in "hard 4096 no" "soft 4096 no" "hard 4096 --zstd yes" "soft 4096 --zstd yes" \
	"hard 65536 -" "soft 65536 -"; do
	disk=${what%% *}
	wakes=${what##* }
	kind=${what#* }
	kind=${kind% *}
	note "blocks of $kind on the $disk disk"
	# shellcheck disable=SC2086
	[ -e "$CASE_TMP/$kind" ] ||
		mkimage zfile "$CASE_TMP/$kind" --bytes 1048576 --block-size $kind
	dd if="$CASE_TMP/$kind" of="/dev/$disk" bs=1M conv=fsync status=none
	dm_create z "0 2048 zfile_target /dev/$disk $(stat -c %s "$CASE_TMP/$kind")" -r
	if [ "$wakes" != - ]; then
		turns_of_workers
		dd if=/dev/mapper/z of="$CASE_TMP/out" bs=4096 count=$reads skip=7 iflag=direct \
			status=none
		turns_of_workers
		expect_ok cmp -n $((reads * 4096)) -i 0:28672 "$CASE_TMP/out" \
			"$CASE_TMP/$kind.content"
		note "$reads reads, $turns turns of workers"
		if [ "$wakes" = yes ]; then
			[ "$turns" -ge $reads ] || fail "not every read has woken a worker"
		else
			[ "$turns" -lt $reads ] || fail "every read has woken a worker"
		fi
	fi
	if [ "$kind" = 65536 ]; then
		note "sectors that cannot be read"
		# The first block is stored in sectors 1 to more than 4, and read as a whole.
		echo +2-4 >"/sys/kernel/config/nullb/$disk/badblocks"
		expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/65536.content" --unit 65536 \
			--bad 0+65536
		random_reads /dev/mapper/z "$CASE_TMP/65536.content" 15 --seed 2 --threads 4 \
			--bad 0+65536
		count_of z read_errors
		[ "$count" -gt 0 ] || fail "the errors are not counted: $(info_of z)"
		echo -2-4 >"/sys/kernel/config/nullb/$disk/badblocks"
	fi
	expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/$kind.content" --unit 131072
	random_reads /dev/mapper/z "$CASE_TMP/$kind.content" 15 --seed 1 --threads 4
	dm_remove z
done

note "tasks that compute while small reads end in interrupts"
spinners=
for _ in $(seq "$(nproc)"); do
	while :; do :; done &
	spinners="$spinners $!"
done
# The ticks of the processor that the tasks have had.
ticks() {
	for spinner in $spinners; do
		cat "/proc/$spinner/stat"
	done | awk '{ sum += $14 + $15 } END { print sum + 0 }'
}
# The time since boot in the same unit.
now() {
	awk -v hz="$(getconf CLK_TCK 2>/dev/null || echo 100)" '{ print int($1 * hz) }' /proc/uptime
}
dd if="$CASE_TMP/4096" of=/dev/hard bs=1M conv=fsync status=none
dm_create z "0 2048 zfile_target /dev/hard $(stat -c %s "$CASE_TMP/4096")" -r
had=$(ticks)
began=$(now)
random_reads /dev/mapper/z "$CASE_TMP/4096.content" 2000 --seed 3 --threads 8 --max-bytes 4096
had=$(($(ticks) - had))
took=$(($(now) - began))
# shellcheck disable=SC2086
kill $spinners
note "they had $had ticks of $took"
[ "$had" -ge $((took / 10)) ] || fail "tasks that compute were kept from the processor"
dm_remove z
