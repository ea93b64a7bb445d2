#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A lower device changes below a target: its file is cut short and restored, the device shrinks and
# grows again, is detached while it is used, loses its disk, and does not answer in time. Reads of
# what is gone fail with an I/O error, all others return the right bytes, and the device above can
# always be removed. The error of a disk that does not answer, ETIMEDOUT, is passed on as it is.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

mkimage zfile "$CASE_TMP/zf" --bytes 1048576
zbytes=$(stat -c %s "$CASE_TMP/zf")
# loop_of would pad a copy.
truncate -s %512 "$CASE_TMP/zf"
cp "$CASE_TMP/zf" "$CASE_TMP/kept"
half=$((zbytes / 2 / 4096 * 4096))
table_on() {
	echo "0 2048 zfile_target $1 $zbytes"
}

# some_fail: reads the whole device. Some reads must fail, and none may be wrong.
some_fail() {
	blkcheck compare /dev/mapper/z "$CASE_TMP/zf.content" --reads 60 --threads 2 --allow-eio \
		--seed 1 >"$CASE_TMP/out" 2>&1 || fail "$(cat "$CASE_TMP/out")"
	case $(cat "$CASE_TMP/out") in
	*" failed 0 "*) fail "no read failed: $(cat "$CASE_TMP/out")" ;;
	esac
}

# The first quarter of the content is stored in the first half of the file.
still_there() {
	random_reads /dev/mapper/z "$CASE_TMP/zf.content" 40 --bytes 262144 --direct-only --seed 6
}

# restore: writes what the file had.
restore() {
	dd if="$CASE_TMP/kept" of="$CASE_TMP/zf" bs=64k conv=notrunc status=none
}

for how in off on; do
	note "a file that is cut short, direct I/O $how"
	loop_of "$CASE_TMP/zf" 0 --direct-io=$how
	dm_create z "$(table_on "$loop")" -r
	truncate -s "$half" "$CASE_TMP/zf"
	busybox blockdev --flushbufs "$loop"
	some_fail
	still_there
	restore
	busybox blockdev --flushbufs "$loop"
	busybox blockdev --flushbufs /dev/mapper/z
	random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 2

	note "a device that shrinks and grows"
	truncate -s "$half" "$CASE_TMP/zf"
	losetup -c "$loop"
	expect_eq "bytes of the loop device" "$(bytes_of "$loop")" "$half"
	some_fail
	still_there
	expect_fail dmsetup create refused -r --table "$(table_on "$loop")"
	restore
	losetup -c "$loop"
	busybox blockdev --flushbufs /dev/mapper/z
	random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 3
	dm_remove z
	loop_detach "$loop"
done

note "a loop device that is detached while it is used stays until its last user is gone"
loop=$(losetup -r -f --show "$CASE_TMP/zf")
dm_create z "$(table_on "$loop")" -r
losetup -d "$loop"
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 4
dm_remove z
eventually 20 sh -c "! losetup '$loop'"

note "a disk that is switched off under load"
null_disk gone 8 irqmode=2 completion_nsec=1000000
dd if="$CASE_TMP/zf" of=/dev/gone bs=64k conv=fsync status=none
dm_create z "$(table_on /dev/gone)" -r
blkcheck compare /dev/mapper/z "$CASE_TMP/zf.content" --reads 1000000 --threads 3 --allow-eio \
	--direct-only --ready "$CASE_TMP/ready" --until "$CASE_TMP/stop" >"$CASE_TMP/out" 2>&1 &
reader=$!
eventually 60 test -e "$CASE_TMP/ready"
echo 0 >/sys/kernel/config/nullb/gone/power
expect_eio dd if=/dev/mapper/z of=/dev/null bs=4096 count=1 iflag=direct
: >"$CASE_TMP/stop"
wait $reader || fail "$(cat "$CASE_TMP/out")"
case $(cat "$CASE_TMP/out") in
*" failed 0 "*) fail "no read failed: $(cat "$CASE_TMP/out")" ;;
esac
# A disk of the same name is another one.
dm_remove z
echo 1 >/sys/kernel/config/nullb/gone/power
dd if="$CASE_TMP/zf" of=/dev/gone bs=64k conv=fsync status=none
dm_create z "$(table_on /dev/gone)" -r
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 5

note "a disk that does not answer in time"
inject=/sys/kernel/config/nullb/gone/timeout_inject
if [ -d $inject ] || has_everything; then
	echo 1000 >/sys/block/gone/queue/io_timeout
	echo 0 >$inject/verbose
	echo 1 >$inject/times
	echo 100 >$inject/probability
	expect_fail dd if=/dev/mapper/z of=/dev/null bs=4096 count=1 iflag=direct
	case $fail_out in
	*"Connection timed out"*) ;;
	*) fail "the read fails with another error: $fail_out" ;;
	esac
	random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 6
	report "with a disk that does not answer"
fi
