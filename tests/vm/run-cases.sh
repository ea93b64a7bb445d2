#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs cases in the guest, one after the other as the host names them, and reports to the host when
# each begins and how it ended. It removes what a case left, and fails the case for it. It does not
# read the kernel log: the host judges that.
#
# Lines to the host, each after "@@vm " in the kernel log:
#   next                      the guest waits for a line on its console: `case CASE` or `finish`
#   begin CASE SECONDS        the case starts; SECONDS is its limit
#   | TEXT                    output of a case that fails
#   end CASE pass|skip|fail|timeout TEXT
#   counters TEXT|.           a piece of the module's counters, see counters.sh; their end
#   unclean TEXT              something could not be removed: the host must not use this guest again

here=/overlaybd/tests/vm
console=/dev/$(sed 's/.*console=\([A-Za-z0-9]*\).*/\1/' /proc/cmdline)
out=/run/case.out
# shellcheck source=counters.sh
. $here/counters.sh

tell() {
	printf '<4>@@vm %s\n' "$*" >/dev/kmsg
}

# Sends the lines of its input to the host. A log line holds about 1000 bytes.
tell_lines() {
	tr -cd '\11\12\40-\176' | cut -c1-800 | while IFS= read -r text; do
		tell "| $text"
	done
}

# The value of a directive in a case's head comment: "# NAME: VALUE".
directive() {
	sed -n "/^# $2: */{s///p;q}" "$1"
}

mounts() {
	cut -d' ' -f2 /proc/mounts
}

loops() {
	losetup -n -l -O NAME | sed 's/ *$//'
}

dms() {
	dmsetup ls 2>/dev/null | awk '$1 != "No" { print $1 }'
}

# The connected ones: these have the file.
nbds() {
	for file in /sys/block/nbd*/pid; do
		[ ! -e "$file" ] || echo "$file" | sed 's|/sys/block/\(.*\)/pid|/dev/\1|'
	done
}

# clean SESSION: whether a case left nothing that a sweep would remove. A sweep starts five times as
# many programs, and on the debugging kernel each takes up to a tenth of a second.
clean() {
	for file in /sys/block/loop*/loop /sys/block/nbd*/pid /sys/module/sch_netem /run/udev; do
		[ ! -e "$file" ] || return 1
	done
	# A device without a table is not in /sys/block.
	[ "$(dmsetup ls 2>&1)" = "No devices found" ] || return 1
	[ "$(mounts)" = "$before" ] || return 1
	ps -o sid,comm | awk -v s="$1" '
		$1 == s || $2 ~ /^(systemd-udevd|udevadm|\(udev-worker\)|nbdkit)$/ { left = 1 }
		END { exit left }'
}

# Removes what a case left: processes of its session, udevd, nbdkit, nbd devices, the delay of the
# network, mounts, dm devices, loop devices. Prints each.
sweep() {
	session=$1
	for pid in $(ps -o pid,sid | awk -v s="$session" '$2 == s { print $1 }'); do
		echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
		kill -KILL "$pid" 2>/dev/null
	done
	# udevd has a session of its own, and so has each of its workers, and nbdkit.
	for pid in $(pidof systemd-udevd udevadm '(udev-worker)' nbdkit); do
		echo "process $pid of udevd or nbdkit"
		kill -KILL "$pid" 2>/dev/null
	done
	rm -rf /run/udev
	# Reads of one without a server may wait.
	for dev in $(nbds); do
		echo "nbd device $dev"
		nbd-client -d "$dev" >/dev/null
	done
	if [ -e /sys/module/sch_netem ] && tc qdisc del dev lo root 2>/dev/null; then
		echo "a slow network"
	fi
	for name in $(dms); do
		case $(dmsetup info -c --noheadings -o suspended "$name") in
		Suspended) dmsetup resume "$name" ;;
		esac
	done
	for dir in $(mounts | grep -vxF -f /run/mounts.before | sed '1!G;h;$!d'); do
		echo "mount $dir"
		umount "$dir" || umount -l "$dir"
	done
	# A device can be removed once no other is on it: repeat until nothing changes.
	left=$(dms)
	for name in $left; do
		echo "dm device $name: $(dmsetup table "$name" | head -n 1)"
	done
	while [ -n "$left" ]; do
		for name in $left; do
			dmsetup remove "$name" >/dev/null 2>&1
		done
		now=$(dms)
		[ "$now" != "$left" ] || break
		left=$now
	done
	for dev in $(loops); do
		echo "loop device $dev: $(losetup -n -O BACK-FILE "$dev")"
		losetup -d "$dev"
	done
}

# Prints what a sweep could not remove: it would spoil later cases.
unclean() {
	[ -z "$(dms)" ] || echo "dm devices stay: $(dms | tr '\n' ' ')"
	[ -z "$(loops)" ] || echo "loop devices stay: $(loops | tr '\n' ' ')"
	[ -z "$(nbds)" ] || echo "nbd devices stay: $(nbds | tr '\n' ' ')"
	mounts | grep -vxF -f /run/mounts.before | sed 's/^/mount stays: /'
}

run_case() {
	name=$1
	file=$here/cases/$name.sh
	limit=$(($(directive "$file" timeout) + ${LASTS:-0}))
	[ "$limit" -le "${LIMIT:-$limit}" ] || limit=$LIMIT
	export CASE="$name" CASE_TMP="/tmp/$name"
	rm -rf "$CASE_TMP" /run/case.timeout
	mkdir -p "$CASE_TMP"
	before=$(mounts)
	printf '%s\n' "$before" >/run/mounts.before

	tell "begin $name $limit"
	: >$out
	if [ "$(directive "$file" module)" = none ]; then
		grep -q '^dm_overlaybd ' /proc/modules && rmmod dm_overlaybd >>$out 2>&1
	elif ! grep -q '^dm_overlaybd ' /proc/modules; then
		insmod "$MODULE" >>$out 2>&1
	fi

	# shellcheck disable=SC2086 # an empty $TRACE must vanish
	setsid sh $TRACE "$file" >>$out 2>&1 </dev/null &
	case_pid=$!
	setsid sh -c "
		sleep $limit
		: >/run/case.timeout
		echo 'processes when time was up:' >>$out
		ps -o pid,stat,args | grep -v '\[' >>$out
		echo w >/proc/sysrq-trigger
		kill -KILL -$case_pid" &
	guard=$!
	wait $case_pid
	code=$?
	# A case may end before its guard has a process group, which then fails to be killed.
	for target in -$guard $guard -$guard; do
		kill -KILL "$target" 2>/dev/null
	done
	wait $guard 2>/dev/null

	left=
	swept=
	clean $case_pid || {
		left=$(sweep $case_pid 2>&1)
		swept=yes
	}
	send_counters
	# The reason for a skip, and what the case checked.
	skipped=
	[ $code -ne 77 ] || [ ! -e "$CASE_TMP/.skip" ] || read -r skipped <"$CASE_TMP/.skip"
	remark=
	[ ! -e "$CASE_TMP/.report" ] || read -r remark <"$CASE_TMP/.report"
	rm -rf "$CASE_TMP"
	stuck=
	[ -z "$swept" ] || stuck=$(unclean)
	verdict=fail
	if [ -e /run/case.timeout ]; then
		verdict=timeout
		text="still running after $limit s"
	elif [ $code -ne 0 ] && [ -z "$skipped" ]; then
		text="exit status $code"
	elif [ -n "$left" ]; then
		text="left things behind"
	elif [ -n "$skipped" ]; then
		verdict=skip
		text=$skipped
	else
		verdict=pass
		text=$remark
	fi
	if [ $verdict = fail ] || [ $verdict = timeout ]; then
		tail -n 60 $out | tell_lines
		[ -z "$left" ] || printf '%s\n' "$left" | sed 's/^/left behind: /' | tell_lines
	fi
	tell "end $name $verdict $text"
	[ -z "$stuck" ] || tell "unclean $stuck"
}

# Leaks memory on purpose: if kmemleak's report at the end lacks what this process allocated, its
# silence about the cases means nothing.
leak() {
	[ -e /overlaybd/canary.ko ] || return
	sh -c 'echo $$ >/run/canary; exec insmod /overlaybd/canary.ko'
	rmmod kmemleak_test
}

# Unloads the module and asks kmemleak for memory without references. It does not report objects
# younger than five seconds, and one scan may still find a pointer in a dead stack slot.
kmemleak() {
	tell "begin kmemleak 300"
	control=/sys/kernel/debug/kmemleak
	text=
	if grep -q '^dm_overlaybd ' /proc/modules && ! rmmod dm_overlaybd 2>$out; then
		text="the module cannot be unloaded: $(cat $out); "
	fi
	sleep 6
	canary=none
	[ ! -e /run/canary ] || read -r canary </run/canary
	# The file has no size, and rejects commands once kmemleak has given up.
	if ! echo scan >$control || ! echo scan >$control || ! cat $control >/run/leaks; then
		text="${text}kmemleak has given up"
	else
		: >/run/leaks.ours
		made=$(awk -v canary=", pid $canary," -v ours=/run/leaks.ours '
			/^unreferenced object/ { head = $0; next }
			head != "" {
				known = index($0, canary)
				made += known != 0
				if (!known)
					print head >ours
				head = ""
			}
			!known { print >ours }
			END { print made + 0 }' /run/leaks)
		if [ -s /run/leaks.ours ]; then
			head -n 60 /run/leaks.ours | tell_lines
			text="${text}memory was leaked"
		elif [ "$canary" != none ] && [ "$made" -eq 0 ]; then
			text="${text}not even the leaks made on purpose were found"
		fi
	fi
	if [ -n "$text" ]; then
		tell "end kmemleak fail $text"
	elif [ "$canary" = none ]; then
		tell "end kmemleak skip no leak was found, but nothing shows that one would be:" \
			"the kernel has no CONFIG_SAMPLE_KMEMLEAK"
	else
		tell "end kmemleak pass $made leaks made on purpose were found, no other"
	fi
}

# parameter NAME: prints a kernel parameter of the project's, a number.
parameter() {
	sed -n "s/.*overlaybd\.$1=\([0-9]*\).*/\1/p" /proc/cmdline
}

# How long cases last that can last for any time, and how long no case may last.
LASTS=$(parameter seconds)
LIMIT=$(parameter limit)
export LASTS
TRACE=
! grep -q 'overlaybd\.trace' /proc/cmdline || TRACE=-x
stty -F "$console" -echo
leak
ran=
while tell next && read -r word name && [ "$word" = case ]; do
	run_case "$name"
	ran=yes
done <"$console"
# A kernel without kmemleak has no such file.
if [ -n "$ran" ] && [ -e /sys/kernel/debug/kmemleak ]; then
	kmemleak
fi
