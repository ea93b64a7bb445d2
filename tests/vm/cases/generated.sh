#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# 2,000 generated images, ZFiles and stacks of layers of every shape and with every damage: each must
# read as it was made, fail exactly the reads that its damage touches, or be refused by name. An image
# is made again by the seed and the number that a failure gives: `genrun show` and `genrun host`.
#
# With KASAN every device costs a tenth of a second to make and remove: there it is 300 of them, and CI
# has the 2,000 read on the plain kernel.
#
# timeout: 400
. /overlaybd/tests/vm/lib.sh

seed=1
count=2000
if grep -q ' kasan_quarantine_put$' /proc/kallsyms; then
	count=300
fi
threads=4

slots=
n=0
while [ $n -lt $((threads * 8)) ]; do
	truncate -s 2M "$CASE_TMP/slot$n"
	loop_of "$CASE_TMP/slot$n"
	slots="$slots $CASE_TMP/slot$n=$loop"
	n=$((n + 1))
done
# shellcheck disable=SC2086
/overlaybd/tools/genrun guest $slots --seed $seed --count $count
