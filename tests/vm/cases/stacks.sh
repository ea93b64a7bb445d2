#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Every reference stack, of one to eight layers, raw or as ZFiles: it holds what the reference
# reader found, read as a whole and at random, and its merged index has as many segments as that
# reader's. Then the same images from layers of mixed kinds: raw, sealed, in ZFiles of several
# kinds, in tar. Every reference layer is in one of these stacks.
#
# timeout: 400
# only: stock
. /overlaybd/tests/vm/lib.sh

# unstack COUNT: removes the devices of stack_of.
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

# check SIZE SHA256 SEGMENTS LAYERS: the stack of these layers, separated by commas.
check() {
	note "$4"
	used=$used,$4
	IFS=,
	# shellcheck disable=SC2086
	set -- "$1" "$2" "$3" $4
	unset IFS
	size=$1 sha256=$2 segments=$3
	shift 3
	stack_of s $((size / 512)) "$@"
	expect_eq sectors "$(sectors_of /dev/mapper/s)" $((size / 512))
	holds /dev/mapper/s "$sha256" "$CASE_TMP/$sha256"
	random_reads /dev/mapper/s "$CASE_TMP/$sha256" 40 --seed $checked
	[ "$segments" = - ] ||
		expect_eq status "$(info_of s)" \
			"layers $# segments $segments index_bytes $((segments * 16))"
	unstack $#
	checked=$((checked + 1))
}

# mix LAYERS [SEGMENTS]: the stack of these layers must hold the same as the stack of the table
# whose layers have the same names up to the first "_".
mix() {
	# shellcheck disable=SC2046 # three words
	set -- "$1" "${2:-}" $(awk -F '\t' -v layers="$1" '
		function stems(text) { gsub(/_[^,]*/, "", text); return text }
		stems($4) == stems(layers) { print $1, $2, $3; exit }' "$IMAGES/stacks.tsv")
	[ $# -eq 5 ] || fail "no stack of the table is like $1"
	check "$3" "$4" "${2:-$5}" "$1"
}

used=
checked=0
elsewhere=0
while IFS="$TAB" read -r size sha256 segments layers; do
	# Too large to hash: the case legacy-base reads it.
	if [ "$layers" = legacy/ext4_64 ]; then
		used=$used,$layers
		elsewhere=$((elsewhere + 1))
		continue
	fi
	check "$size" "$sha256" "$segments" "$layers"
done <"$IMAGES/stacks.tsv"
every stacks $((checked + elsewhere))
rows=$checked

mix lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_16k.zlsmt,lsmt/fs2_lz4_4k_nocrc.zlsmt,lsmt/fs3_lz4_4k.zlsmt
# The sealed layer has other segments than what was committed from it.
mix lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k_tar.tar,lsmt/fs2_lz4_4k_mt.zlsmt,lsmt/fs3_sealed.lsmt -
mix lsmt/syn0_lz4_4k.zlsmt,lsmt/syn1_lz4_4k.zlsmt,lsmt/syn2_lz4_4k.zlsmt
mix lsmt/syn0_lz4_4k.zlsmt,lsmt/empty_lz4_4k.zlsmt

# Each layer of the set has been read in a stack.
n=0
while IFS="$TAB" read -r file rest; do
	case $used, in
	*",$file,"*) n=$((n + 1)) ;;
	*) fail "no stack has the layer $file" ;;
	esac
done <"$IMAGES/layers.tsv"
every layers $n
report "$rows stacks of the table, $((checked - rows)) mixed ones; $n layers"
