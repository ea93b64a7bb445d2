#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Other devices stand on ours: dm-verity must find every block as it was hashed, a snapshot takes
# writes that never reach our target, a linear device and a loop device return what our target does.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

reference_stack s "$CASE_TMP/content"
mkimage zfile "$CASE_TMP/zf" --bytes 1048576 --block-size 16384
loop_of "$CASE_TMP/zf"
dm_create z "0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/zf")" -r

note verity
for pair in "z $CASE_TMP/zf.content" "s $CASE_TMP/content"; do
	name=${pair%% *}
	content=${pair#* }
	root=$(blkcheck verity "/dev/mapper/$name" "$CASE_TMP/$name.hashes")
	loop_of "$CASE_TMP/$name.hashes"
	sectors=$(sectors_of "/dev/mapper/$name")
	verity="1 /dev/mapper/$name $loop 4096 4096 $((sectors / 8)) 0 sha256 $root -"
	dm_create "v$name" "0 $sectors verity $verity" -r
	expect_ok blkcheck sweep "/dev/mapper/v$name" "$content" --unit 1048576
	random_reads "/dev/mapper/v$name" "$content" 60 --seed 1 --unit 4096
	case $(dmsetup status "v$name") in
	*" V"*) ;;
	*) fail "dm-verity says $(dmsetup status "v$name")" ;;
	esac
	dm_remove "v$name"
done

note snapshot
truncate -s 8M "$CASE_TMP/cow"
cow=$(losetup -f --show "$CASE_TMP/cow")
undo_add "losetup -d $cow"
dm_create snap "0 32768 snapshot /dev/mapper/s $cow N 8"
expect_ok blkcheck sweep /dev/mapper/snap "$CASE_TMP/content" --unit 1048576
cp "$CASE_TMP/content" "$CASE_TMP/changed"
for target in /dev/mapper/snap "$CASE_TMP/changed"; do
	yes overlaybd | dd of="$target" bs=512 seek=12345 count=99 iflag=fullblock \
		conv=notrunc,fsync status=none
done
random_reads /dev/mapper/snap "$CASE_TMP/changed" 60 --seed 2
expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/content" --unit 1048576
mkdir "$CASE_TMP/rw"
mount -t ext4 /dev/mapper/snap "$CASE_TMP/rw"
undo_add "umount $CASE_TMP/rw"
echo text >"$CASE_TMP/rw/written by the case"
unmount "$CASE_TMP/rw"
expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/content" --unit 1048576
dm_remove snap

note "linear, from the middle on, and a loop device"
dm_create lin "0 1111 linear /dev/mapper/s 3333" -r
random_reads /dev/mapper/lin "$CASE_TMP/content" 60 --seed 3 \
	--reference-offset $((3333 * 512)) --bytes $((1111 * 512))
for direct in on off; do
	loop=$(losetup -r -f --show --direct-io=$direct /dev/mapper/s)
	undo_add "losetup -d $loop"
	random_reads "$loop" "$CASE_TMP/content" 60 --seed 4
	loop_detach "$loop"
done
