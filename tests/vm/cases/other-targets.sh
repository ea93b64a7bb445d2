#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# dm-crypt decrypts what a ZFile holds, as it does on any device. dm-integrity below a target checks
# each sector that is read, and its error, EILSEQ, is passed on as it is. Once the sectors have been
# written again, reads return the right bytes.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

mkimage zfile "$CASE_TMP/zf" --bytes 1048576 --block-size 65536
zbytes=$(stat -c %s "$CASE_TMP/zf")
mkimage stack "$CASE_TMP/made" --layers 1
read -r _ layer_sectors <"$CASE_TMP/made/table"
sectors=$(($(stat -c %s "$CASE_TMP/made/content") / 512))
did=

if has_target crypt; then
	note "dm-crypt above"
	loop_of "$CASE_TMP/zf.content"
	plain=$loop
	loop_of "$CASE_TMP/zf"
	dm_create z "0 2048 zfile_target $loop $zbytes" -r
	key=$(seq -s '' 10 73 | head -c 128)
	dm_create want "0 2048 crypt aes-xts-plain64 $key 0 $plain 0" -r
	dm_create crypt "0 2048 crypt aes-xts-plain64 $key 0 /dev/mapper/z 0" -r
	blkcheck hash /dev/mapper/want --save "$CASE_TMP/decrypted" >/dev/null
	expect_fail cmp -s "$CASE_TMP/decrypted" "$CASE_TMP/zf.content"
	expect_ok blkcheck sweep /dev/mapper/crypt "$CASE_TMP/decrypted" --unit 65536
	random_reads /dev/mapper/crypt "$CASE_TMP/decrypted" 40 --seed 1 --threads 2
	dm_remove crypt
	dm_remove z
	did="dm-crypt "
fi

if has_target integrity; then
	note "dm-integrity below"
	null_disk checked 16
	# The first table formats the disk and tells how much of it is left.
	format="integrity /dev/checked 0 - D 1 internal_hash:crc32c"
	dm_create checked "0 1 $format"
	room=$(info_of checked)
	room=${room#* }
	room=${room%% *}
	dm_remove checked
	dm_create checked "0 $room $format"
	seek=$(((zbytes + 65535) / 65536))
	# Whole blocks: a part of one would be merged with what the disk holds, which has no
	# checksum yet.
	cp "$CASE_TMP/zf" "$CASE_TMP/whole"
	truncate -s %65536 "$CASE_TMP/whole"
	cat "$CASE_TMP/made/layers" >>"$CASE_TMP/whole"
	truncate -s %65536 "$CASE_TMP/whole"
	# fill: writes the ZFile and the layer, with their checksums.
	fill() {
		dd if="$CASE_TMP/whole" of=/dev/mapper/checked bs=64k oflag=direct conv=fsync \
			status=none
	}
	# right: the devices hold what they should.
	right() {
		expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit 65536
		expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/made/content" --unit 512
	}
	fill
	dm_create part "0 $layer_sectors linear /dev/mapper/checked $((seek * 128))"
	dm_create z "0 2048 zfile_target /dev/mapper/checked $zbytes" -r
	dm_create s "0 $sectors lsmt_target /dev/mapper/part $((layer_sectors * 512))" -r
	right

	note "all sectors change below it, but its superblock"
	dd if=/dev/zero of=/dev/checked bs=4096 seek=1 count=4095 conv=fsync status=none
	for device in z s; do
		expect_fail dd if=/dev/mapper/$device of=/dev/null bs=4096 count=1 iflag=direct
		case $fail_out in
		*"Invalid or incomplete multibyte or wide character"*) ;;
		*) fail "a read of $device fails with another error: $fail_out" ;;
		esac
	done
	count_of z read_errors
	[ "$count" -gt 0 ] || fail "the error is not counted: $(info_of z)"
	fill
	right
	did="${did}dm-integrity "
fi
[ -n "$did" ] || lacks "dm-crypt and dm-integrity"
report "$did"
