#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup: images of 1, 30 and 255 compressed layers, each in a file of its own that ends
# within a sector. They hold the right bytes, and `close` leaves nothing.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

mkimage zfile "$CASE_TMP/made" --bytes 4194304 --seed 5 >/dev/null
mv "$CASE_TMP/made.content" "$CASE_TMP/content"
times=
for count in 1 30 255; do
	# A layer whose trailer is needed takes four devices; 255 of these would take a minute on
	# the debugging kernel.
	ends=
	[ $count -le 30 ] || ends=--overwrite-header
	# shellcheck disable=SC2086 # an empty $ends must vanish
	mkimage split "$CASE_TMP/layer" --content "$CASE_TMP/content" --layers $count \
		--seed $count $ends >/dev/null
	set --
	n=0
	while [ $n -lt $count ]; do
		set -- "$@" --layer "$CASE_TMP/layer.$n"
		n=$((n + 1))
	done
	read -r begin _ </proc/uptime
	open_image image "$@"
	read -r end _ </proc/uptime
	times="$times $count layers $(echo "$begin $end" | awk '{ printf "%.2f", $2 - $1 }') s,"
	expect_eq "layers" "$(overlaybdsetup list | cut -f4)" $count
	expect_ok cmp -n 4194304 /dev/mapper/image "$CASE_TMP/content"
	close_image image
	nothing_left "$count layers"
	rm "$CASE_TMP"/layer.*
done
report "opened:${times%,}"
