#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Some seconds, or as long as `make fuzz-vm` says, of generated images and of requests to
# device-mapper in random order with reads under way. Each time it is another seed, which a failure
# prints.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# Tables of the same content, and some that are refused.
mkimage zfile "$CASE_TMP/lz4" --bytes 500224
mkimage zfile "$CASE_TMP/large" --content "$CASE_TMP/lz4.content" --block-size 65536
mkimage zfile "$CASE_TMP/zstd" --content "$CASE_TMP/lz4.content" --block-size 16384 --zstd
for name in lz4 large zstd; do
	loop_of "$CASE_TMP/$name"
	bytes=$(stat -c %s "$CASE_TMP/$name")
	eval "$name='0 977 zfile_target $loop $bytes'"
done
half="0 977 zfile_target $loop $((bytes / 2))"
long="0 978 zfile_target $loop $bytes"
none="0 977 zfile_target /dev/missing $bytes"
twice="0 977 zfile_target $loop $bytes
977 1 lsmt_target $loop $bytes"

slots=
for n in $(seq 16); do
	truncate -s 2M "$CASE_TMP/slot$n"
	loop_of "$CASE_TMP/slot$n"
	slots="$slots $CASE_TMP/slot$n=$loop"
done

seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
note "seed $seed"
images=0
requests=0
reads=0
lasting 10
while ! time_is_up; do
	# shellcheck disable=SC2086
	genrun guest $slots --seed "$seed" --first $images --count 20 >"$CASE_TMP/out" 2>&1 ||
		fail "$(cat "$CASE_TMP/out")"
	images=$((images + 20))
	out=$(dmcheck chaos f "$lz4" "$large" "$zstd" --bad "$half" --bad "$long" --bad "$none" \
		--bad "$twice" --holds "$CASE_TMP/lz4.content" --seconds 5 2>&1) || fail "$out"
	note "$out"
	# shellcheck disable=SC2086
	set -- $out
	requests=$((requests + $2 + $4))
	reads=$((reads + $6))
done
{ [ "$requests" -gt 0 ] && [ "$reads" -gt 0 ]; } || fail "there was hardly any load"
expect_eq "module references" "$(module_references)" 0
report "seed $seed: $images images, $requests requests, $reads reads beside them"
