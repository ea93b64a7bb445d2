# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154
#
# The functions of VM cases that need a registry. They source lib.sh first, and tool.sh for those
# of overlaybdsetup. Sourcing this file skips the case where the guest has no such programs: those
# of Debian's kernels have them.
#
#   registry_start [PORT] [auth]  starts a registry on 127.0.0.1, port 5000 or PORT, that answers
#                                 without TLS and keeps its content in $CASE_TMP/registry. With auth
#                                 it asks for the user `reader` with the password `right`. Returns
#                                 once it answers. One can run at a time. Sets $registry to its
#                                 host and port, $registry_log to a file with a line for each
#                                 request that it has answered
#   registry_stop                 stops it, under load too; else it stops when the case ends
#   registry_again                starts it again, with the same content
#   registry_curl ARGS...         curl, with the user and the password if the registry asks for them
#   requests TEXT                 prints how many requests it has answered, by now, whose line in
#                                 $registry_log has that text, such as "GET /v2/x/blobs/"
#   push_layout DIR REPOSITORY TAG
#                                 uploads the image of an OCI layout, as oci_layout writes it
#   layer_field KEY NAME          prints the sum of that field over the layers of a device of
#                                 overlaybdsetup
#   at_least COUNT KEY NAME       whether that sum is as large
#   processes NAME                prints the pids of processes whose command line has that word
#   fetchers COUNT                whether as many fetchers run
#   nothing_remote                whether no fetcher, nbdkit, folder of one or nbd device is left
#   all_gone WHEN                 nothing of overlaybdsetup may be left, nor fetchers, which end on
#                                 their own
#   two_images                    starts a registry and pushes some/image:1 of four layers, and
#                                 two:1 of the lower two. Their layouts stay in $CASE_TMP/oci and
#                                 $CASE_TMP/two. Sets $whole and $lower to their sha256
#   slow_network DELAY_MS RATE    delays each packet of the loopback interface, in each direction,
#                                 and limits its rate, in the words of tc (20mbit): an answer takes
#                                 twice the delay, or four times on a new connection. Again: other
#                                 values
#   fast_network                  ends that; else it ends with the case

# The root of such a guest is a small Debian (qemu/runner/debian.py).
[ -e /etc/modules ] || skip "the kernel is not one of Debian's, the guest has no registry"

registry_log=$CASE_TMP/registry.log
registry_pid=

registry_curl() {
	curl -sS --max-time 300 ${registry_user:+-u "$registry_user"} "$@"
}

registry_answers() {
	curl -s -o /dev/null --max-time 20 "http://$registry/v2/"
}

# The shell may not have waited for it yet.
registry_gone() {
	{ read -r rg_stat <"/proc/$registry_pid/stat"; } 2>/dev/null || return 0
	case ${rg_stat##*") "} in
	Z*) true ;;
	*) false ;;
	esac
}

registry_up() {
	registry_gone || registry_answers
}

registry_start() {
	registry=127.0.0.1:${1:-5000}
	registry_user=
	mkdir -p "$CASE_TMP/registry"
	cat >"$CASE_TMP/registry.yml" <<-YML
	version: 0.1
	log: {level: error}
	storage: {filesystem: {rootdirectory: "$CASE_TMP/registry"}}
	http: {addr: "$registry", secret: overlaybd}
	YML
	if [ "${2:-}" = auth ]; then
		registry_user=reader:right
		# The hash of `right` by bcrypt, with the lowest cost.
		echo 'reader:$2y$04$kQ8mZr1vXn0sTgUwYh2aJ.mizv7NYkD12HVZZ3KTeIyDwZvf1N0.y' \
			>"$CASE_TMP/htpasswd"
		printf 'auth: {htpasswd: {realm: tests, path: "%s"}}\n' "$CASE_TMP/htpasswd" \
			>>"$CASE_TMP/registry.yml"
	fi
	registry_again
}

# In emulation it takes a while.
registry_again() {
	docker-registry serve "$CASE_TMP/registry.yml" >>"$registry_log" 2>&1 &
	registry_pid=$!
	undo_add registry_end
	eventually 240 registry_up
	! registry_gone || fail "the registry has ended: $(tail -n 5 "$registry_log")"
}

# It may run in a subshell, which cannot wait for the registry.
registry_end() {
	kill "$registry_pid" && eventually 60 registry_gone
}

registry_stop() {
	registry_end || fail "the registry does not end"
	wait "$registry_pid" || true
	undo_drop registry_end
}

requests() {
	grep -cF -- "$1" "$registry_log" || true
}

push_layout() {
	pl_blobs=$1/blobs/sha256
	pl_url=http://$registry/v2/$2
	pl_digest=$(sed -n 's/.*"digest": *"sha256:\([0-9a-f]*\)".*/\1/p' "$1/index.json")
	pl_type=$(sed -n 's/.*"mediaType": *"\([^"]*\)".*/\1/p' "$1/index.json")
	pl_manifest=$pl_blobs/$pl_digest
	[ -f "$pl_manifest" ] || fail "$1 does not hold one image"
	for pl_digest in $(grep -o 'sha256:[0-9a-f]*' "$pl_manifest" | sort -u); do
		pl_upload=$(registry_curl -D - -o /dev/null -X POST "$pl_url/blobs/uploads/" |
			sed -n 's/^[Ll]ocation: *\([^[:space:]]*\).*/\1/p')
		[ -n "$pl_upload" ] || fail "$registry does not let upload to $2"
		put_file "$pl_blobs/${pl_digest#sha256:}" application/octet-stream \
			"$pl_upload&digest=$pl_digest"
	done
	put_file "$pl_manifest" "$pl_type" "$pl_url/manifests/$3"
}

# put_file FILE TYPE URL: the registry must accept the file.
put_file() {
	pf_status=$(registry_curl -o "$CASE_TMP/answer" -w '%{http_code}' -X PUT -T "$1" \
		-H "Content-Type: $2" "$3") || fail "no answer to PUT $3"
	expect_eq "status of PUT $3: $(cat "$CASE_TMP/answer")" "$pf_status" 201
}

layer_field() {
	overlaybdsetup status "$2" --json | sed -n "s/^ *\"$1\": \\([0-9]*\\),\\{0,1\\}\$/\\1/p" |
		awk '{ sum += $1 } END { print sum + 0 }'
}

# Three programs for all processes: three for each of them take seconds.
processes() {
	tail -v -c +1 /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | awk -v word="$1" '
		/^==> \/proc\/[0-9]+\/cmdline <==$/ { split($0, part, "/"); found = 0; next }
		$0 == word && !found { print part[3]; found = 1 }'
}

# remnants: prints what fetchers leave while they run.
remnants() {
	processes fetch-blob | sed 's/^/fetcher /'
	processes nbdkit | sed 's/^/nbdkit /'
	for rm_folder in /run/overlaybdsetup/fetchers/*; do
		[ ! -e "$rm_folder" ] || echo "folder $rm_folder"
	done
	for rm_device in /sys/block/nbd*; do
		[ ! -e "$rm_device/pid" ] || echo "device $rm_device"
	done
}
nothing_remote() {
	[ -z "$(remnants)" ]
}
all_gone() {
	nothing_left "$1"
	(eventually 30 nothing_remote) || fail "$1 leaves $(remnants)"
}

fetchers() {
	[ "$(processes fetch-blob | wc -l)" = "$1" ]
}

at_least() {
	[ "$(layer_field "$2" "$3")" -ge "$1" ]
}

two_images() {
	layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
	whole=$want
	# shellcheck disable=SC2086
	set -- $layers
	oci_layout "$CASE_TMP/oci" v1 "$2" "$4" "$6" "$8"
	oci_layout "$CASE_TMP/two" v1 "$2" "$4"
	layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
	lower=$want
	registry_start
	push_layout "$CASE_TMP/oci" some/image 1
	push_layout "$CASE_TMP/two" two 1
	undo_add eventually 10 rmmod nbd
}

slow_network() {
	expect_ok modprobe sch_netem
	[ -n "${network_slow:-}" ] || undo_add tc qdisc del dev lo root
	network_slow=yes
	# No packet is dropped for want of room.
	expect_ok tc qdisc replace dev lo root netem delay "$1ms" rate "$2" limit 100000
}

fast_network() {
	tc qdisc del dev lo root
	undo_drop tc qdisc del dev lo root
	network_slow=
}
