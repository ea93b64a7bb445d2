#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A lower device cannot read some sectors. Reads of what is stored there must fail with an I/O error
# after one attempt; reads elsewhere, and all reads once the device has healed, return the right
# bytes. A table whose structures are stored there is refused by the structure's name. A lower
# device that fails or corrupts data now and then must lead to errors, never to wrong bytes or to
# reads that do not return.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# Blocks of 64 KiB, many more than the cache keeps. The first is stored in sectors 1 to more than 8.
mkimage zfile "$CASE_TMP/zf" --bytes 4194304 --block-size 65536
zbytes=$(stat -c %s "$CASE_TMP/zf")
loop_of "$CASE_TMP/zf"
zloop=$loop
zsectors=$(sectors_of "$zloop")
# One layer: its first sector of data is sector 8 of the file and sector 0 of the content.
mkimage stack "$CASE_TMP/made" --layers 1
loop_of "$CASE_TMP/made/layers"
lloop=$loop
lsectors=$(sectors_of "$lloop")
read -r _ layer_sectors <"$CASE_TMP/made/table"
sectors=$(($(stat -c %s "$CASE_TMP/made/content") / 512))

# with_holes DEVICE SECTORS FIRST COUNT: a table of a device of which these sectors cannot be read.
with_holes() {
	wh_end=$(($3 + $4))
	[ "$3" -eq 0 ] || echo "0 $3 linear $1 0"
	echo "$3 $4 error"
	[ $wh_end -ge "$2" ] || echo "$wh_end $(($2 - wh_end)) linear $1 $wh_end"
}

# swap NAME TABLE: loads another table of a device.
swap() {
	dmsetup load "$1" -r --table "$2"
	dmsetup resume "$1"
}

note "structures that cannot be read"
dm_create under "$(with_holes "$zloop" "$zsectors" 0 1)" -r
ztable="0 8192 zfile_target /dev/mapper/under $zbytes"
refused "Cannot read the ZFile header" EIO "$ztable" "reading failed (-5)"
swap under "$(with_holes "$zloop" "$zsectors" $((zsectors - 1)) 1)"
refused "Cannot read the ZFile trailer" EIO "$ztable"
# The index ends where the trailer begins; it is 256 bytes long.
first=$(((zbytes - 512 - 256) / 512))
swap under "0 $first linear $zloop 0
$first 1 error
$((first + 1)) $((zsectors - first - 1)) linear $zloop $((first + 1))"
log_mark
expect_fail dmsetup create refused -r --table "$ztable"
expect_log "zfile_target: Cannot read the ZFile "

dm_create lower "$(with_holes "$lloop" "$lsectors" 0 8)" -r
ltable="0 $sectors lsmt_target /dev/mapper/lower $((layer_sectors * 512))"
refused "Cannot read the layer header" EIO "$ltable"
swap lower "$(with_holes "$lloop" "$lsectors" $((layer_sectors - 8)) 8)"
refused "Cannot read the layer trailer" EIO "$ltable"
swap lower "$(with_holes "$lloop" "$lsectors" $((layer_sectors - 16)) 8)"
refused "Cannot read the layer index" EIO "$ltable"

note "data that cannot be read"
swap under "0 $zsectors linear $zloop 0"
swap lower "0 $lsectors linear $lloop 0"
dm_create z "$ztable" -r
dm_create s "$ltable" -r
swap under "$(with_holes "$zloop" "$zsectors" 2 3)"
swap lower "$(with_holes "$lloop" "$lsectors" 8 1)"
for unit in 512 65536; do
	expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit $unit \
		--bad 0+65536 --zeroed
	expect_ok blkcheck sweep /dev/mapper/s "$CASE_TMP/made/content" --unit $unit --bad 0+512
done
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 200 --bad 0+65536 --seed 1 --threads 2
random_reads /dev/mapper/s "$CASE_TMP/made/content" 200 --bad 0+512 --seed 1 --threads 2

note "one attempt"
dm_create bad "0 $((zsectors + lsectors)) error" -r
swap under "0 $zsectors linear /dev/mapper/bad 0"
swap lower "0 $lsectors linear /dev/mapper/bad 0"
for pair in z/under s/lower; do
	reads_of "${pair#*/}"
	before=$reads
	expect_eio dd if="/dev/mapper/${pair%/*}" of=/dev/null bs=512 count=1 iflag=direct
	reads_of "${pair#*/}"
	expect_eq "reads of ${pair#*/}" "$reads" $((before + 1))
done
count_of z read_errors
[ "$count" -gt 0 ] || fail "the errors are not counted: $(info_of z)"

note "healed"
swap under "0 $zsectors linear $zloop 0"
swap lower "0 $lsectors linear $lloop 0"
dm_remove bad
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 50 --seed 2
random_reads /dev/mapper/s "$CASE_TMP/made/content" 50 --seed 2
expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content"
count_of z crc_errors
expect_eq crc_errors "$count" 0
count_of z decompress_errors
expect_eq decompress_errors "$count" 0

note "a device that is away for a second now and then"
# more_errors: whether the device was away again.
more_errors() {
	count_of z read_errors
	[ "$count" -gt "$before" ]
}

count_of z read_errors
before=$count
blkcheck compare /dev/mapper/z "$CASE_TMP/zf.content" --until "$CASE_TMP/stop" \
	--ready "$CASE_TMP/ready" --reads 1000000 --threads 3 --allow-eio >"$CASE_TMP/out" 2>&1 &
reader=$!
eventually 60 test -e "$CASE_TMP/ready"
swap under "0 $zsectors flakey $zloop 0 1 1 1 error_reads"
eventually 60 more_errors
: >"$CASE_TMP/stop"
wait $reader || fail "$(cat "$CASE_TMP/out")"
case $(cat "$CASE_TMP/out") in
*" failed 0 "*) fail "no read failed: $(cat "$CASE_TMP/out")" ;;
esac

note "a device that lies: CRCs tell"
for flaw in "corrupt_bio_byte 700 r 85 0" "random_read_corrupt 500000000"; do
	swap under "0 $zsectors flakey $zloop 0 0 100 $(echo "$flaw" | wc -w) $flaw"
	expect_ok blkcheck compare /dev/mapper/z "$CASE_TMP/zf.content" --reads 60 --threads 2 \
		--allow-eio --seed 3
done
count_of z crc_errors
[ "$count" -gt 0 ] || fail "no CRC was wrong: $(info_of z)"
swap under "0 $zsectors linear $zloop 0"
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 20 --seed 4

note "the same without CRCs: whatever is read, nothing else happens"
mkimage zfile "$CASE_TMP/nocrc" --bytes 524288 --no-verify
loop_of "$CASE_TMP/nocrc"
n=$(sectors_of "$loop")
dm_create liar "0 $n linear $loop 0" -r
dm_create zn "0 1024 zfile_target /dev/mapper/liar $(stat -c %s "$CASE_TMP/nocrc")" -r
swap liar "0 $n flakey $loop 0 0 100 2 random_read_corrupt 1000000000"
unit=0
while [ $unit -lt 128 ]; do
	dd if=/dev/mapper/zn of=/dev/null bs=4096 skip=$unit count=1 iflag=direct status=none \
		2>"$CASE_TMP/out" ||
		expect_ok grep -q "Input/output error" "$CASE_TMP/out"
	unit=$((unit + 16))
done
swap liar "0 $n linear $loop 0"
random_reads /dev/mapper/zn "$CASE_TMP/nocrc.content" 20 --seed 5
