# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC1090,SC2034,SC2154
#
# The functions that VM cases use. A case is a POSIX sh file tests/vm/cases/NAME.sh; it runs in the
# guest under dash, with real dmsetup, losetup, mount, umount, blockdev, dd, cmp and truncate (and
# busybox for the rest), and starts like this:
#
#     #!/bin/sh
#     # SPDX-License-Identifier: GPL-2.0
#     #
#     # What the case shows, and why.
#     #
#     # timeout: 60              (how long it may run, in seconds of emulation)
#     # module: none             (only if the module must not be loaded; else it is)
#     # init: systemd            (only if systemd must be the init of the guest. Such a case runs
#     #                          only if it is named: make test-systemd)
#     # only: debug              (`.ci/run` runs it on that kernel alone, or with `stock` on
#     #                          Debian's: on the other it would show the same)
#     . /overlaybd/tests/vm/lib.sh
#
# The shell runs with `set -eu`: a command that fails ends the case, and the case fails. It also
# fails when the kernel log shows a warning, an oops or a checker's report while it runs, and when
# it leaves processes, mounts, dm or loop devices. When the case ends, the devices and mounts that
# the helpers below created are removed in reverse order, and a removal that fails is a failure. The
# case itself cleans up everything else.
#
# In the guest: $IMAGES is the folder of reference images with manifest.json and its tables (below),
# $CASE_TMP an empty folder in memory, $MODULE the file of the module; the binaries of tests/tools
# are on the PATH.
#
#   fail TEXT...                     ends the case as failed
#   note TEXT...                     a line for the output, shown when the case fails
#   report TEXT...                   what the case has checked, shown when it passes
#   skip TEXT...                     ends the case as skipped: there is nothing to check here
#   lacks TEXT...                    the kernel lacks what the case needs: skips it, or fails it on
#                                    the project's own debugging kernel, which has everything
#   has_everything                   whether this is that kernel
#   every TABLE N                    N must be the number of rows of that table (see below)
#   expect_eq WHAT VALUE WANT        VALUE must be WANT
#   expect_ok COMMAND...             must succeed (its output is shown when it does not)
#   expect_fail COMMAND...           must fail, for whatever reason
#   expect_eio COMMAND...            must fail with an I/O error
#   expect_fail_with TEXT COMMAND... must fail, and its output or the kernel log must contain TEXT
#   eventually SECONDS COMMAND...    must succeed within that time; tried ten times a second
#
#   loop_of FILE [OFFSET [ARGS...]]  read-only loop device of FILE from byte OFFSET on; sets $loop
#                                    to its name. A loop device ends at the last whole sector, so a
#                                    FILE of any other length is padded with zeros, in a copy; those
#                                    in $IMAGES already are
#   dm_create NAME TABLE [ARGS...]   dmsetup create NAME ARGS... with that table; /dev/mapper/NAME
#   dm_remove NAME                   removes it before the end of the case
#   loop_detach DEVICE               the same for a loop device
#   has_target NAME                  whether the kernel has that target of device-mapper
#   has_kasan                        whether the kernel has KASAN, with which a device costs a tenth
#                                    of a second
#   null_disk NAME MIB SETTING...    creates /dev/NAME, a null_blk device in memory, with SETTINGs
#                                    of its configfs folder (irqmode=2: its bios complete in a hard
#                                    interrupt, 1: in a soft one)
#   udev_start                       starts udevd, which creates the links in /dev/mapper and probes
#                                    each new device. Without it dmsetup creates nodes there, and
#                                    only the case opens a device
#   udev_stop                        stops it before the end of the case
#   original_of FILE                 sets $original to a copy of FILE, of $IMAGES, with its length
#                                    before it was padded
#   run_container DIR COMMAND...     runs COMMAND in a container with the root DIR, by crun and an
#                                    overlay as container engines do. Where the kernel has no
#                                    namespaces or no overlay it is chroot. Sets $container to the
#                                    one it was
#   mount_ro DEVICE DIR [ARGS...]    mounts read-only on DIR, which it creates
#   unmount DIR                      unmounts before the end of the case
#
#   zfile_of NAME LAYER              loop device + zfile_target NAME for a row of layers.tsv or
#                                    zfiles.tsv; a raw layer becomes a loop device only. Sets $dev
#                                    and $dev_bytes, the pair of arguments for lsmt_target
#   stack_of NAME SECTORS LAYER...   lsmt_target NAME over such layers, lowest first
#   reference_stack NAME FILE        lsmt_target NAME over four reference layers, checked by its
#                                    sha256; FILE keeps the content
#   layers_in DIR                    a linear device for each layer of a stack that mkimage wrote to
#                                    DIR, on $loop, the loop device of DIR/layers. Sets $pairs to
#                                    the arguments for lsmt_target
#
#   blkcheck, dmcheck, mkimage ARGS...       the binaries of tests/tools; --help describes them
#   holds DEVICE SHA256 [FILE]       the content of DEVICE must have that sha256. FILE keeps it, and
#                                    devices with the same FILE and SHA256 are compared with that
#   random_reads DEVICE FILE N [ARGS...]     N random reads of any shape must return what FILE holds
#   generated SEED FIRST COUNT       COUNT generated images from number FIRST on must read as they
#                                    should
#   refused MESSAGE ERRNO TABLE [TEXT]
#                                    dmsetup must refuse the table, with this message and errno
#                                    name, and a line of the target's own in the log, with TEXT in
#                                    it. The log is read when the case ends
#   errno_of NAME                    prints the number of an errno
#   info_of NAME                     prints the status of NAME after the target's name
#   count_of NAME FIELD              sets $count to the number after FIELD in the status of NAME;
#                                    fails if there is none
#   module_references                prints how many references the module has
#   reads_of NAME                    sets $reads to how many reads a dm device has completed, well
#                                    or not
#   turns_of_workers                 sets $turns to how often, since the last call, workers whose
#                                    latest work was ours have waited or yielded: each work item
#                                    that wakes one adds to it
#   under_way NAME N [PID...]        whether N reads or more of a dm device have begun and not
#                                    ended, and these processes wait for I/O
#
#   used_kib                         prints how much memory is in use, after dropping the caches
#   delayed_kib                      prints how much of it may be memory that KASAN frees later
#   vmalloc_areas                    prints how many areas of vmalloc are the module's
#   lasting SECONDS                  sets $deadline, in seconds since boot: in that time, or in what
#                                    `qemu/vm test --seconds` was given
#   time_is_up                       whether it has passed
#
#   page_bytes                       prints the size of the kernel's pages
#   bytes_of DEVICE, sectors_of DEVICE       print its size
#   sha256_of FILE [BYTES]           prints the sha256 of the file or device, or of its first BYTES
#   log_mark                         log_since and expect_log read from here on
#   log_since                        prints the kernel log since log_mark (or since the case began)
#   expect_log TEXT                  the kernel log since then must contain TEXT
#   expect_no_log TEXT               ... must not
#
# Tables from manifest.json, tab-separated, one row an entry, "-" where it has no such field:
#   zfiles.tsv     file container payload_offset payload_bytes algo block_size verify
#                  header_overwritten content_bytes content_sha256
#   layers.tsv     file container payload_offset payload_bytes zfile algo block_size verify
#                  header_overwritten content_bytes
#   stacks.tsv     virtual_size sha256 merged_segments layers (separated by commas, lowest first)
#   malformed.tsv  file kind bytes want reference_reader content_bytes content_sha256
#   TABLE.rows     how many rows it has
#   about TABLE FILE                 sets $of_COLUMN for every column of FILE's row; fails if there
#                                    is none
# Example:
#   while IFS="$TAB" read -r file container offset bytes rest; do ...; done <"$IMAGES/zfiles.tsv"

set -eu
# shellcheck source=counters.sh
. /overlaybd/tests/vm/counters.sh

PATH=$PATH:/overlaybd/tools
IMAGES=/overlaybd/images
TAB=$(printf '\t')
# The commands that remove what the case created ("+"), and those that no longer are needed ("-"),
# in order; a file, because helpers may run in subshells. Here and below processes are few: on the
# debugging kernel each costs up to a tenth of a second.
UNDO=$CASE_TMP/.undo
: >"$UNDO"
# What the kernel log must say about refused tables.
REFUSALS=$CASE_TMP/.refusals

note() {
	printf '%s\n' "$*"
}

fail() {
	note "failed: $*"
	exit 1
}

report() {
	printf '%s\n' "$*" >"$CASE_TMP/.report"
}

skip() {
	printf '%s\n' "$*" >"$CASE_TMP/.skip"
	exit 77
}

has_everything() {
	case $(uname -r) in
	*-overlaybd-debug) true ;;
	*) false ;;
	esac
}

lacks() {
	! has_everything || fail "the debugging kernel has no $*"
	skip "the kernel has no $*"
}

every() {
	read -r ev_rows <"$IMAGES/$1.rows"
	[ "$2" -eq "$ev_rows" ] || fail "$2 of the $ev_rows rows of $1.tsv were run"
}

expect_eq() {
	[ "$2" = "$3" ] || fail "$1 is '$2', should be '$3'"
}

expect_ok() {
	ok_out=$("$@" 2>&1) || fail "'$*' failed with status $?: $ok_out"
}

expect_fail() {
	! fail_out=$("$@" 2>&1) || fail "'$*' succeeded, it should have failed: $fail_out"
}

expect_fail_with() {
	with_text=$1
	shift
	log_mark
	expect_fail "$@"
	with_log=$(log_since)
	case "$fail_out$with_log" in
	*"$with_text"*) ;;
	*) fail "'$*' failed without saying '$with_text': $fail_out; kernel log: $with_log" ;;
	esac
}

expect_eio() {
	expect_fail "$@"
	case $fail_out in
	*"Input/output error"*) ;;
	*) fail "'$*' failed, but not with an I/O error: $fail_out" ;;
	esac
}

eventually() {
	ev_tries=$(($1 * 10))
	ev_limit=$1
	shift
	while ! "$@" >/dev/null 2>&1; do
		ev_tries=$((ev_tries - 1))
		[ $ev_tries -gt 0 ] || fail "not within $ev_limit s: $*"
		sleep 0.1
	done
}

# --- devices --------------------------------------------------------------------------------------

undo_add() {
	printf '+%s\n' "$*" >>"$UNDO"
}

undo_drop() {
	printf -- '-%s\n' "$*" >>"$UNDO"
}

loop_of() {
	lo_file=$1
	lo_offset=${2:-0}
	shift $(($# > 2 ? 2 : $#))
	case $lo_file in
	"$IMAGES"/*) ;;
	*)
		if [ $(($(stat -c %s "$lo_file") % 512)) -ne 0 ]; then
			lo_copy=$CASE_TMP/${lo_file##*/}.padded
			if [ ! -e "$lo_copy" ]; then
				cp "$lo_file" "$lo_copy"
				truncate -s %512 "$lo_copy"
			fi
			lo_file=$lo_copy
		fi
		;;
	esac
	loop=$(losetup -r -f --show -o "$lo_offset" "$@" "$lo_file") ||
		fail "no loop device for $lo_file"
	undo_add "losetup -d $loop"
}

loop_detach() {
	losetup -d "$1"
	undo_drop "losetup -d $1"
}

dm_create() {
	dc_name=$1
	dc_table=$2
	shift 2
	dc_out=$(dmsetup create "$dc_name" "$@" --table "$dc_table" 2>&1) ||
		fail "dmsetup create $dc_name $* --table '$dc_table': $dc_out;" \
			"kernel log: $(log_since | tail -n 5)"
	undo_add "dmsetup remove $dc_name"
}

dm_remove() {
	dmsetup remove "$1"
	undo_drop "dmsetup remove $1"
}

has_target() {
	dmsetup targets | grep -q "^$1 " ||
		{ modprobe "dm-$1" && dmsetup targets | grep -q "^$1 "; } 2>/dev/null
}

has_kasan() {
	grep -q ' kasan_quarantine_put$' /proc/kallsyms
}

null_disk() {
	nd_dir=/sys/kernel/config/nullb/$1
	[ -d /sys/kernel/config/nullb ] || lacks "null_blk that is set up through configfs"
	mkdir "$nd_dir"
	undo_add "rmdir $nd_dir"
	echo "$2" >"$nd_dir/size"
	echo 1 >"$nd_dir/memory_backed"
	shift 2
	for nd_setting; do
		echo "${nd_setting#*=}" >"$nd_dir/${nd_setting%%=*}"
	done
	echo 1 >"$nd_dir/power"
}

# qemu/init has set DM_DISABLE_UDEV: there is no udev.
udev_start() {
	/usr/lib/systemd/systemd-udevd --daemon || fail "udevd does not start"
	undo_add udev_end
	unset DM_DISABLE_UDEV
}

udev_end() {
	udevadm settle --timeout=30 && udevadm control --exit --timeout=30 || return
	eventually 10 udev_gone
	# Another udevd, or dmsetup without udev, would take this state for its own.
	rm -rf /run/udev /dev/disk
}

udev_gone() {
	! pidof systemd-udevd
}

udev_stop() {
	udev_end || fail "udevd does not end"
	undo_drop udev_end
	export DM_DISABLE_UDEV=1
}

original_of() {
	about layers "$1" || about zfiles "$1" || about malformed "$1" ||
		fail "there is no image $1"
	original=$CASE_TMP/original/$1
	[ ! -e "$original" ] || return 0
	mkdir -p "${original%/*}"
	cp "$IMAGES/$1" "$original"
	truncate -s "$of_file_bytes" "$original"
}

# json_of WORD...: prints the words as JSON strings.
json_of() {
	for jo_word; do
		printf '%s"%s"' "$jo_comma" "$(printf %s "$jo_word" | sed 's/[\\"]/\\&/g')"
		jo_comma=,
	done
}

mount_cgroups() {
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	undo_add "umount /sys/fs/cgroup"
}

# The root is an overlay in memory: an image may lack the folders that crun mounts on. The
# namespaces are those of a container engine but for that of the network. The container stays in the
# cgroup of the case.
run_container() {
	rc_dir=$1
	shift
	if ! [ -e /proc/self/ns/pid ] ||
		! { grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null; }; then
		container=chroot
		PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$rc_dir" "$@"
		return
	fi
	container=crun
	rc_n=$((${rc_n:-0} + 1))
	rc_bundle=$CASE_TMP/container.$rc_n
	mkdir -p "$rc_bundle/upper" "$rc_bundle/work" "$rc_bundle/rootfs"
	jo_comma=
	cat >"$rc_bundle/config.json" <<-JSON
	{"ociVersion": "1.0.2", "hostname": "container", "root": {"path": "rootfs"},
	 "process": {"cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
	             "args": [$(json_of "$@")], "user": {"uid": 0, "gid": 0}},
	 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
	            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
	             "options": ["mode=755"]}],
	 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
	                          {"type": "uts"}]}}
	JSON
	# crun needs the mount even with --cgroup-manager disabled.
	grep -q ' /sys/fs/cgroup ' /proc/mounts || mount_cgroups
	mount -t overlay -o "lowerdir=$rc_dir,upperdir=$rc_bundle/upper,workdir=$rc_bundle/work" \
		overlay "$rc_bundle/rootfs"
	rc_status=0
	crun --root "$CASE_TMP/crun" --cgroup-manager disabled run --bundle "$rc_bundle" \
		"$CASE.$rc_n" || rc_status=$?
	umount "$rc_bundle/rootfs"
	return $rc_status
}

mount_ro() {
	mr_dev=$1
	mr_dir=$2
	shift 2
	mkdir -p "$mr_dir"
	mount -o ro "$@" "$mr_dev" "$mr_dir"
	undo_add "umount $mr_dir"
}

unmount() {
	umount "$1"
	undo_drop "umount $1"
}

zfile_of() {
	of_zfile=true
	about layers "$2" || about zfiles "$2" || fail "there is no layer $2"
	loop_of "$IMAGES/$2" "$of_payload_offset"
	if [ "$of_zfile" = false ]; then
		dev=$loop
		dev_bytes=$of_payload_bytes
		return
	fi
	dev_bytes=$of_content_bytes
	dm_create "$1" "0 $(((dev_bytes + 511) / 512)) zfile_target $loop $of_payload_bytes"
	dev=/dev/mapper/$1
}

stack_of() {
	so_name=$1
	so_sectors=$2
	shift 2
	so_args=
	so_n=0
	for so_layer; do
		zfile_of "$so_name.$so_n" "$so_layer"
		so_args="$so_args $dev $dev_bytes"
		so_n=$((so_n + 1))
	done
	dm_create "$so_name" "0 $so_sectors lsmt_target$so_args"
}

reference_stack() {
	stack_of "$1" 32768 lsmt/fs0_lz4_4k.zlsmt lsmt/fs1_lz4_4k_tar.tar lsmt/fs2_lz4_4k.zlsmt \
		lsmt/fs3_lz4_4k.zlsmt
	rs_sha256=$(awk -F '\t' '
		$4 ~ /^lsmt\/fs0[^,]*,[^,]*,[^,]*,lsmt\/fs3[^,]*$/ { print $2; exit }' \
		"$IMAGES/stacks.tsv")
	holds "/dev/mapper/$1" "$rs_sha256" "$2"
}

# Whole blocks of 4096 bytes, which any lower device can map.
layers_in() {
	pairs=
	li_n=0
	while read -r li_first li_sectors; do
		li_n=$((li_n + 1))
		dm_create "${1##*/}$li_n" \
			"0 $(((li_sectors + 7) / 8 * 8)) linear $loop $li_first" -r
		pairs="$pairs /dev/mapper/${1##*/}$li_n $((li_sectors * 512))"
	done <"$1/table"
}

# --- contents -------------------------------------------------------------------------------------

# Where FILE exists it compares: a hash takes ten times as long.
holds() {
	if [ -n "${3:-}" ] && [ -e "$3.$2" ]; then
		ho_out=$(blkcheck sweep "$1" "$3" --unit 1048576 2>&1) ||
			fail "$1 does not hold what it should: $ho_out"
		return
	fi
	ho_sha256=$(blkcheck hash "$1" ${3:+--save "$3"}) || fail "$1 cannot be read"
	expect_eq "sha256 of $1" "$ho_sha256" "$2"
	[ -z "${3:-}" ] || : >"$3.$2"
}

random_reads() {
	rr_device=$1
	rr_file=$2
	rr_count=$3
	shift 3
	rr_out=$(blkcheck compare "$rr_device" "$rr_file" --reads "$rr_count" "$@" 2>&1) ||
		fail "$rr_out"
}

# A thread for every eight files, the most that an image has. With KASAN it reads the first 32nd of
# the images; CI reads all of them on the plain kernel.
generated() {
	gn_slots=
	gn_count=$3
	gn_files=32
	if has_kasan; then
		gn_count=$((gn_count / 32))
		gn_files=16
	fi
	for gn_n in $(seq $gn_files); do
		truncate -s 2M "$CASE_TMP/slot$gn_n"
		loop_of "$CASE_TMP/slot$gn_n"
		gn_slots="$gn_slots $CASE_TMP/slot$gn_n=$loop"
	done
	# shellcheck disable=SC2086
	genrun guest $gn_slots --seed "$1" --first "$2" --count $gn_count >"$CASE_TMP/generated" ||
		fail "$(cat "$CASE_TMP/generated")"
	gn_read=$(awk '/\(refused / { n += $1 } END { print n + 0 }' "$CASE_TMP/generated")
	expect_eq "images read" "$gn_read" "$gn_count"
	report "$gn_read images of $3"
}

# The log has the name of an error, or its number if the kernel was built without names.
errno_of() {
	case $1 in
	ENOENT) echo 2 ;;
	EIO) echo 5 ;;
	ENXIO) echo 6 ;;
	ENOMEM) echo 12 ;;
	ENOTBLK) echo 15 ;;
	ENODEV) echo 19 ;;
	EINVAL) echo 22 ;;
	EFBIG) echo 27 ;;
	EOPNOTSUPP) echo 95 ;;
	*) fail "errno_of does not know $1" ;;
	esac
}

refused() {
	re_n=$((${re_n:-0} + 1))
	echo "<7>@@refused $CASE $$ $re_n" >/dev/kmsg
	expect_fail dmsetup create refused -r --table "$3"
	printf '%d\t%s\t%s\t%s\t%s\t%.100s\n' $re_n "$1" "$2" "$(errno_of "$2")" "${4:-}" \
		"$(printf '%s' "$3" | tr '\n' ';')" >>"$REFUSALS"
}

# Reads the log once, after the case, because it is long.
refusals_hold() {
	dmesg -r | awk -F '\t' -v marker="@@refused $CASE $$ " -v refusals="$REFUSALS" '
		BEGIN {
			while ((getline line <refusals) > 0) {
				split(line, f)
				count++
				message[f[1]] = f[2]
				name[f[1]] = f[3]
				number[f[1]] = f[4]
				detail[f[1]] = f[5]
				table[f[1]] = f[6]
			}
		}
		at = index($0, marker) { n = substr($0, at + length(marker)) + 0; next }
		/@@mark / { n = 0 }
		n && /device-mapper: / { said[n] = said[n] $0 "\n" }
		END {
			for (n = 1; n <= count; n++) {
				text = ": " message[n] " (-"
				if (!index(said[n], text name[n] ")") &&
				    !index(said[n], text number[n] ")"))
					wrong = "is not refused with \"" message[n] "\" and " \
						name[n]
				else if (!index(said[n], ": overlaybd: ") ||
					 (detail[n] != "" && !index(said[n], detail[n])))
					wrong = "has no line of its own in the log with \"" \
						detail[n] "\""
				else
					continue
				print "failed: the table \"" table[n] "\" " wrong ": " said[n]
				exit 1
			}
		}'
}

info_of() {
	in_status=$(dmsetup status "$1") || fail "$1 has no status"
	printf '%s\n' "${in_status#* * * }"
}

count_of() {
	co_info=$(info_of "$1") || fail "$co_info"
	count=${co_info##*" $2 "}
	count=${count%% *}
	case $count in
	"" | *[!0-9]*) fail "the status of $1 does not say $2: $co_info" ;;
	esac
}

# Neither free, nor freed by caches on demand, nor in the lists of free pages of each CPU, which
# hold many MiB where pages are large.
used_kib() {
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk -v page="$(page_bytes)" '
		/^MemTotal|^MemAvailable/ { v[$1] = $2 }
		$1 == "count:" { kept += $2 * page / 1024 }
		END { print v["MemTotal:"] - v["MemAvailable:"] - kept }' \
		/proc/meminfo /proc/zoneinfo
}

# KASAN keeps up to a 32nd of all memory. There kmemleak finds leaks, at the end of the run.
delayed_kib() {
	if has_kasan; then
		awk '/^MemTotal/ { print int($2 / 32) }' /proc/meminfo
	else
		echo 0
	fi
}

# Areas whose callers are functions of the module.
vmalloc_areas() {
	grep -c dm_overlaybd /proc/vmallocinfo || true
}

lasting() {
	read -r la_now _ </proc/uptime
	deadline=$((${la_now%.*} + ${LASTS:-$1}))
}

time_is_up() {
	read -r la_now _ </proc/uptime
	[ "${la_now%.*}" -ge "$deadline" ]
}

module_references() {
	awk '$1 == "dm_overlaybd" { print $3 }' /proc/modules
}

# folder_of NAME: sets $folder to the sysfs folder of a dm device.
folder_of() {
	fo_number=$(stat -L -c '%t %T' "/dev/mapper/$1") || fail "there is no dm device $1"
	folder=/sys/dev/block/$((0x${fo_number% *})):$((0x${fo_number#* }))
}

reads_of() {
	folder_of "$1"
	read -r reads _ <"$folder/stat"
}

# Workers start and end, and do the work of others in between: each is compared with itself.
turns_of_workers() {
	turns=$(cat /proc/[0-9]*/status 2>/dev/null | awk -v last="$CASE_TMP/.workers" '
		BEGIN {
			while ((getline line <last) > 0) {
				split(line, f)
				before[f[1]] = f[2]
			}
			close(last)
		}
		/^Name:/ { worker = /kworker/; ours = /[0-9H][-+]dm-overlaybd/ }
		/^Pid:/ { pid = $2 }
		worker && /^voluntary_ctxt_switches:/ { now[pid] = $2 }
		worker && /^nonvoluntary_ctxt_switches:/ {
			now[pid] += $2
			if (ours)
				turns += now[pid] - before[pid]
		}
		END {
			for (pid in now)
				print pid, now[pid] >last
			print turns + 0
		}')
}

under_way() {
	folder_of "$1"
	read -r uw_reads _ <"$folder/inflight"
	[ "$uw_reads" -ge "$2" ] || return 1
	shift 2
	for uw_pid; do
		# The state follows the name, which is in parentheses.
		read -r uw_stat <"/proc/$uw_pid/stat" || return 1
		uw_stat=${uw_stat##*") "}
		[ "${uw_stat%% *}" = D ] || return 1
	done
}

# AT_PAGESZ of the auxiliary vector.
page_bytes() {
	od -A n -t u8 -w16 /proc/self/auxv | awk '$1 == 6 { print $2 }'
}

bytes_of() {
	busybox blockdev --getsize64 "$1"
}

sectors_of() {
	busybox blockdev --getsz "$1"
}

sha256_of() {
	if [ $# -gt 1 ]; then
		head -c "$2" "$1" | sha256sum | cut -d' ' -f1
	else
		sha256sum "$1" | cut -d' ' -f1
	fi
}

# --- tables ---------------------------------------------------------------------------------------

about() {
	[ -e "$IMAGES/about/$1/$2" ] || return 1
	. "$IMAGES/about/$1/$2"
}

# --- the kernel log -------------------------------------------------------------------------------

log_mark() {
	log_marks=$((${log_marks:-0} + 1))
	log_marker="@@mark $CASE $$ $log_marks"
	echo "<7>$log_marker" >/dev/kmsg
}

log_since() {
	dmesg -r | sed "1,/$log_marker/d" | grep -v '@@vm ' || true
}

expect_log() {
	log_since | grep -qF -- "$1" ||
		fail "the kernel log does not say '$1': $(log_since | tail -n 5)"
}

expect_no_log() {
	! log_since | grep -qF -- "$1" || fail "the kernel log says '$1'"
}

# --- the end --------------------------------------------------------------------------------------

at_exit() {
	code=$?
	trap - EXIT
	set +e
	# A case is skipped with status 77, and only if it has given a reason.
	fine=0
	[ ! -e "$CASE_TMP/.skip" ] || fine=77
	if [ "$code" -eq 0 ] && [ -e "$REFUSALS" ]; then
		refusals_hold || code=1
	fi
	awk '{ line[NR] = $0 }
		END {
			for (i = NR; i > 0; i--) {
				step = substr(line[i], 2)
				if (line[i] ~ /^-/)
					dropped[step]++
				else if (dropped[step] > 0)
					dropped[step]--
				else
					print step
			}
		}' "$UNDO" >"$UNDO.steps"
	while IFS= read -r step; do
		if ! step_out=$($step 2>&1); then
			# Once a case has failed, this may be a consequence: it is only noted.
			note "cannot take down: $step: $step_out"
			[ "$code" -ne "$fine" ] || code=1
		fi
	done <"$UNDO.steps"
	exit "$code"
}

log_mark
trap at_exit EXIT
