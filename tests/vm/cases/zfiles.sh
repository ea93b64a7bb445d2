#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Every reference ZFile holds what the reference reader found in it, read as a whole and at random,
# and its status says what kind it is. One without content is refused by name.
#
# timeout: 400
# only: stock
. /overlaybd/tests/vm/lib.sh

no_errors="read_errors 0 crc_errors 0 decompress_errors 0"
read_any=0
refused_any=0
elsewhere=0
n=0
while IFS="$TAB" read -r file container offset bytes algo block_size verify overwritten content \
	sha256; do
	n=$((n + 1))
	note "$file ($container, header overwritten: $overwritten)"
	# The largest image has a case of its own: legacy-base.
	if [ "$file" = legacy/ext4_64 ]; then
		elsewhere=$((elsewhere + 1))
		continue
	fi
	loop_of "$IMAGES/$file" "$offset"
	sectors=$(((content + 511) / 512))
	if [ "$content" -eq 0 ]; then
		refused "ZFile: content is empty" EOPNOTSUPP "0 1 zfile_target $loop $bytes"
		refused_any=$((refused_any + 1))
	else
		dm_create z "0 $sectors zfile_target $loop $bytes" -r
		expect_eq sectors "$(sectors_of /dev/mapper/z)" "$sectors"
		ref=$CASE_TMP/$sha256
		if [ $((content % 512)) -eq 0 ]; then
			holds /dev/mapper/z "$sha256" "$ref"
		else
			blkcheck hash /dev/mapper/z --bytes "$content" --save "$ref" \
				>"$CASE_TMP/hash"
			expect_eq "sha256 of $file" "$(cat "$CASE_TMP/hash")" "$sha256"
		fi
		random_reads /dev/mapper/z "$ref" 80 --seed $n
		crc=verify
		[ "$verify" = true ] || crc=noverify
		blocks=$(((content + block_size - 1) / block_size))
		status=$(info_of z)
		case $status in
		"$algo $block_size $crc blocks $blocks index_bytes "*" $no_errors "*) ;;
		*) fail "the status is '$status'" ;;
		esac
		read_any=$((read_any + 1))
		dm_remove z
	fi
	loop_detach "$loop"
done <"$IMAGES/zfiles.tsv"
every zfiles $((read_any + refused_any + elsewhere))
report "$read_any ZFiles read, $refused_any refused"
