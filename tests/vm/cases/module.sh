#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The module loads, registers both targets with a version, and unloads, twice; a second insmod while
# it is loaded is refused. Its workqueue has a rescuer, with which it works on where no worker can
# be created.
#
# timeout: 60
# module: none
. /overlaybd/tests/vm/lib.sh

for round in 1 2; do
	note "round $round"
	expect_ok insmod "$MODULE"
	for target in zfile_target lsmt_target; do
		version=$(dmsetup targets | awk -v t="$target" '$1 == t { print $2 }')
		case $version in
		v[0-9]*.[0-9]*.[0-9]*) ;;
		*) fail "$target is registered as version '$version'" ;;
		esac
	done
	expect_ok grep -q '^kworker/R-dm-ov' /proc/[0-9]*/comm
	expect_fail insmod "$MODULE"
	expect_eq "use count" "$(module_references)" 0
	expect_ok rmmod dm_overlaybd
	expect_eq "targets left" \
		"$(dmsetup targets | grep -c -E 'zfile_target|lsmt_target' || true)" 0
done
