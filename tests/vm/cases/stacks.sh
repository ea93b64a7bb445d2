#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Every reference stack, of one to eight layers, raw or as ZFiles: it holds what the reference reader
# found, read as a whole and in random pieces, and is merged into as many segments as that one's. Then
# the same images from layers of mixed kinds: raw, sealed, in ZFiles of several sorts, in tar.
#
# timeout: 400
. /overlaybd/tests/vm/lib.sh

# unstack COUNT: removes what stack_of made.
unstack() {
	dm_remove s
	us_n=0
	while [ $us_n -lt "$1" ]; do
		[ ! -e "/dev/mapper/s.$us_n" ] || dm_remove "s.$us_n"
		us_n=$((us_n + 1))
	done
	for us_loop in $(losetup -n -l -O NAME); do
		loop_detach "$us_loop"
	done
}

# here FILE: whether this layer is among the images.
here() {
	about layers "$1"
}

# check SIZE SHA256 SEGMENTS LAYERS: the stack of these layers, separated by commas.
check() {
	note "$4"
	IFS=,
	# shellcheck disable=SC2086
	set -- "$1" "$2" "$3" $4
	unset IFS
	size=$1 sha256=$2 segments=$3
	shift 3
	for layer; do
		here "$layer" || return 0
	done
	stack_of s $((size / 512)) "$@"
	expect_eq sectors "$(sectors_of /dev/mapper/s)" $((size / 512))
	holds /dev/mapper/s "$sha256" "$CASE_TMP/$sha256"
	random_reads /dev/mapper/s "$CASE_TMP/$sha256" 40 --seed $checked
	[ "$segments" = - ] ||
		expect_eq status "$(info_of s)" "layers $# segments $segments index_bytes $((segments * 16))"
	unstack $#
	checked=$((checked + 1))
	deepest=$((deepest > $# ? deepest : $#))
}

checked=0
deepest=0
while IFS="$TAB" read -r size sha256 segments layers; do
	[ "$sha256" != - ] || continue
	check "$size" "$sha256" "$segments" "$layers"
done <"$IMAGES/stacks.tsv"
note "$checked stacks"
[ $checked -ge 3 ] || fail "only $checked stacks were read"
[ $deepest -ge 8 ] || fail "no stack of 8 layers was read"

# The states of one file system after two and four layers, from layers that hold the same.
two=$(awk -F '\t' '$4 ~ /^lsmt\/fs0[^,]*,lsmt\/fs1[^,]*$/ { print $1, $2, $3; exit }' "$IMAGES/stacks.tsv")
four=$(awk -F '\t' '$4 ~ /^lsmt\/fs0[^,]*,[^,]*,[^,]*,lsmt\/fs3[^,]*$/ { print $1, $2, $3; exit }' "$IMAGES/stacks.tsv")
[ -n "$four" ] || fail "there is no stack of four layers"
before=$checked
# shellcheck disable=SC2086
if [ -n "$two" ]; then
	check $two lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k_tar.tar
	check $two lsmt/fs0_raw.lsmt,lsmt/fs1_lz4_16k.zlsmt
fi
# shellcheck disable=SC2086
set -- $four
check "$1" "$2" "$3" lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k_tar.tar,lsmt/fs2_raw.lsmt,lsmt/fs3_lz4_4k.zlsmt
check "$1" "$2" - lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_16k.zlsmt,lsmt/fs2_lz4_4k_nocrc.zlsmt,lsmt/fs3_sealed.lsmt
[ $checked -ge $((before + 2)) ] || fail "mixed layers were not read"
