#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Every malformed reference image is refused by the name of the check that it fails, or read where
# the fault does not matter. A damaged block must cost an I/O error on that block and nothing else.
#
# timeout: 400
# only: debug
. /overlaybd/tests/vm/lib.sh

# verdict_of NAME: prints the check that an image fails, and the name of the errno.
verdict_of() {
	case $1 in
	z01_* | z02_*) echo "ZFile header: wrong magic EINVAL" ;;
	z03_*) echo "ZFile header: wrong digest EINVAL" ;;
	z05_*) echo "ZFile trailer: wrong digest EINVAL" ;;
	z07_*) echo "ZFile trailer: not sealed EINVAL" ;;
	z08_*) echo "ZFile trailer: not marked as data file EINVAL" ;;
	z10_*) echo "ZFile index: wrong CRC EINVAL" ;;
	z15_* | z16_* | z17_* | z19_*) echo "ZFile index: invalid block length EINVAL" ;;
	z21_*) echo "ZFile index: size does not match content size EINVAL" ;;
	z22_*) echo "ZFile index: too many entries EFBIG" ;;
	z24_*) echo "ZFile index: outside of the file EINVAL" ;;
	z25_*) echo "ZFile index: size does not match content size EINVAL" ;;
	z27_* | z28_*) echo "ZFile: unknown compression algorithm EOPNOTSUPP" ;;
	z30_* | z31_* | z32_*) echo "ZFile: invalid block size EINVAL" ;;
	z34_*) echo "ZFile: dictionaries are not supported EOPNOTSUPP" ;;
	z37_* | z39_*) echo "ZFile trailer: wrong magic EINVAL" ;;
	z41_*) echo "ZFile: too short for header and trailer EINVAL" ;;
	l01_*) echo "LSMT header: wrong magic EINVAL" ;;
	l02_*) echo "LSMT header: not marked as header EINVAL" ;;
	l03_*) echo "LSMT header: not marked as data file EINVAL" ;;
	l04_* | l25_* | l26_*) echo "LSMT trailer: wrong magic EINVAL" ;;
	l05_*) echo "LSMT trailer: not sealed EINVAL" ;;
	l06_*) echo "LSMT trailer: not marked as data file EINVAL" ;;
	l08_*) echo "LSMT index: too many entries EFBIG" ;;
	l09_* | l10_*) echo "LSMT index: outside of the layer EINVAL" ;;
	l11_*) echo "LSMT index: entries out of order EINVAL" ;;
	l13_* | l14_* | l16_* | l18_*) echo "LSMT index: data outside of the layer EINVAL" ;;
	l20_*) echo "LSMT: virtual size is not a multiple of 512 EINVAL" ;;
	l27_*) echo "LSMT: too short for header and trailer EINVAL" ;;
	*) fail "the case does not know what is wrong with $1" ;;
	esac
}

# All images in one file, each from a whole sector on: one loop device, and a linear device for each
# image. That is faster than many loop devices.
all=$CASE_TMP/all
files=
tables=
names=
at=0
while IFS="$TAB" read -r file kind bytes want _ content sha256; do
	sectors=$(((bytes + 511) / 512))
	files="$files $IMAGES/$file"
	name=${file##*/}
	tables="$tables;lower.$name,,,ro,0 $sectors linear @ $at"
	names="$names lower.$name"
	at=$((at + sectors))
done <"$IMAGES/malformed.tsv"
# shellcheck disable=SC2086
cat $files >"$all"
expect_eq "size of all" "$(stat -c %s "$all")" $((at * 512))
loop_of "$all"
tables=$(printf '%s' "${tables#;}" | sed "s|@|$loop|g")
expect_ok dmsetup create --concise "$tables"
undo_add "dmsetup remove$names"

about malformed neg/z00_ok_trailer.zf
undamaged=$CASE_TMP/$of_content_sha256
refusals=0
reads=0
while IFS="$TAB" read -r file kind bytes want _ content sha256; do
	name=${file##*/}
	[ "$content" != - ] || content=66048
	target=zfile_target
	[ "$kind" = zfile ] || target=lsmt_target
	table="0 $(((content + 511) / 512)) $target /dev/mapper/lower.$name $bytes"
	case $want in
	rejected*)
		note "$name: must be refused"
		verdict=$(verdict_of "$name")
		refused "${verdict% *}" "${verdict##* }" "$table" "$target: "
		refusals=$((refusals + 1))
		;;
	reads)
		note "$name: must be read"
		dm_create "$name" "$table" -r
		holds "/dev/mapper/$name" "$sha256" "$CASE_TMP/$sha256"
		random_reads "/dev/mapper/$name" "$CASE_TMP/$sha256" 20 --seed 1
		dm_remove "$name"
		reads=$((reads + 1))
		;;
	"creates; EIO"*)
		note "$name: its block 0 must fail"
		dm_create "$name" "$table" -r
		expect_eio dd if="/dev/mapper/$name" of=/dev/null bs=4k count=1 iflag=direct
		count_of "$name" crc_errors
		errors=$count
		count_of "$name" decompress_errors
		expect_eq "errors that are counted" $((errors + count)) 1
		for unit in 512 4096 8192; do
			bad=$unit
			[ $unit -gt 4096 ] || bad=4096
			expect_ok blkcheck sweep "/dev/mapper/$name" "$undamaged" --unit $unit \
				--bad 0+$bad --zeroed
		done
		expect_ok blkcheck compare "/dev/mapper/$name" "$undamaged" --reads 100 \
			--bad 0+4096 --seed 1
		dm_remove "$name"
		reads=$((reads + 1))
		;;
	*) fail "the manifest wants of $name what the case does not know: $want" ;;
	esac
done <"$IMAGES/malformed.tsv"
every malformed $((refusals + reads))
report "$refusals refused, $reads read"
