#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reads by io_uring, several at once, through ZFiles and stacks of layers return the right bytes.
# Where the queues of the disk are polled, neither target can be polled: such reads are refused,
# because device-mapper splits them wrongly on the way to another dm device.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

mkimage zfile "$CASE_TMP/4096" --bytes 1048576
mkimage zfile "$CASE_TMP/65536" --bytes 1048576 --block-size 65536 --zstd
mkimage stack "$CASE_TMP/made" --layers 2

# queued NAME FILE: reads of several lengths and depths, and one that asks to be polled.
queued() {
	for shape in "--bytes 4096" "--bytes 4096 --depth 16" "--bytes 131072 --depth 4"; do
		# shellcheck disable=SC2086
		expect_ok blkcheck queued "/dev/mapper/$1" "$2" --reads 100 $shape --seed 1
	done
	folder_of "$1"
	expect_eq "io_poll of $1" "$(cat "$folder/queue/io_poll")" 0
	expect_fail blkcheck queued "/dev/mapper/$1" "$2" --reads 100 --bytes 131072 --polled
	case $fail_out in
	*"Operation not supported"*) ;;
	*) fail "a polled read of $1: $fail_out" ;;
	esac
	random_reads "/dev/mapper/$1" "$2" 20 --seed 2
}

# A kernel without io_uring refuses its system call.
if blkcheck queued "$CASE_TMP/4096.content" "$CASE_TMP/4096.content" --reads 1 2>&1 |
	grep -q "Function not implemented"; then
	lacks io_uring
fi

null_disk hard 16 irqmode=2 completion_nsec=1000 poll_queues=0
null_disk polled 16 irqmode=2 completion_nsec=1000 poll_queues=1
for disk in hard polled; do
	for size in 4096 65536; do
		note "blocks of $size on the $disk disk"
		dd if="$CASE_TMP/$size" of="/dev/$disk" bs=64k conv=fsync status=none
		dm_create z "0 2048 zfile_target /dev/$disk $(stat -c %s "$CASE_TMP/$size")" -r
		queued z "$CASE_TMP/$size.content"
		dm_remove z
	done

	note "layers on the $disk disk"
	dd if="$CASE_TMP/made/layers" of="/dev/$disk" bs=64k conv=fsync status=none
	# shellcheck disable=SC2034 # layers_in uses it.
	loop=/dev/$disk
	layers_in "$CASE_TMP/made"
	sectors=$(($(stat -c %s "$CASE_TMP/made/content") / 512))
	dm_create s "0 $sectors lsmt_target$pairs" -r
	queued s "$CASE_TMP/made/content"
	if [ $disk = polled ]; then
		note "what the layers stand on can be polled"
		expect_ok blkcheck queued /dev/mapper/made1 "$CASE_TMP/made/layers" --reads 20 \
			--polled --seed 3
	fi
	dm_remove s
	dm_remove made2
	dm_remove made1
done
