# SPDX-License-Identifier: GPL-2.0
"""The group that compares with a process in user space that serves the same image.

The layers are files in a tmpfs, the fastest place for both. The process reads them with read(2).
Our targets read them through loop devices, as overlaybdsetup sets them up, and in a second
contender from ramdisks, as in the other groups.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

from system import MNT, SECTOR, drop_caches, read, run

FOLDER = f"{MNT}/peer"
CONFIG = f"{FOLDER}/config.v1.json"
SERVICE = f"{FOLDER}/service.json"
LAYERS = ["layer3.0", "layer3.1", "layer3.2"]
# How long a reader waits for a device whose process is dead.
PATIENCE = 10


def prepare(bench):
    """The layers as files, and the two configurations."""
    # The root is the host's, which the guest cannot write to.
    for folder in ("/run", "/tmp"):
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    os.makedirs(FOLDER)
    for layer in LAYERS:
        facts = bench.images[layer]
        run("dd", f"if={facts['path']}", f"of={FOLDER}/{layer}", "bs=4M", "status=none")
        # In the file, the trailer is the end.
        os.truncate(f"{FOLDER}/{layer}", facts["bytes"])
    lowers = [{"file": f"{FOLDER}/{layer}"} for layer in LAYERS]
    with open(CONFIG, "w", encoding="ascii") as file:
        json.dump({"repoBlobUrl": "", "lowers": lowers, "resultFile": f"{FOLDER}/result"}, file)
    with open(SERVICE, "w", encoding="ascii") as file:
        # Without what it could do besides: an audit log, downloads, caches of remote files.
        json.dump(
            {
                "logConfig": {"logLevel": 2, "logPath": f"{FOLDER}/log"},
                "cacheConfig": {"cacheType": "file", "cacheDir": FOLDER, "cacheSizeGB": 1},
                "gzipCacheConfig": {"enable": False},
                "credentialConfig": {"mode": "file", "path": f"{FOLDER}/none"},
                "ioEngine": 0,
                "download": {"enable": False},
                "p2pConfig": {"enable": False},
                "exporterConfig": {"enable": False},
                "enableAudit": False,
                "registryFsVersion": "v2",
            },
            file,
        )


class Process:
    """The image on a device that a process serves, on a given CPU or on any."""

    def __init__(self, bench, *before):
        self.bench, self.before = bench, before

    def open(self):
        self.device = run(
            *self.before,
            self.bench.plan["peer"],
            "add",
            "--config",
            CONFIG,
            "--service-config",
            SERVICE,
            "--cache-dir",
            f"{FOLDER}/cache",
        ).split()[-1]
        # It is an orphan, and the guest's init does not wait for those. "del" would take a process
        # that nothing has waited for as one that runs.
        threading.Thread(target=os.waitpid, args=(self.pid, 0), daemon=True).start()
        return self.device

    @property
    def number(self):
        return re.search(r"\d+$", self.device).group()

    @property
    def pid(self):
        return int(read(f"/run/overlaybd-ublk/{self.number}.pid"))

    def close(self):
        run(self.bench.plan["peer"], "del", "-n", self.number)


class Files:
    """The image as overlaybdsetup sets it up over the same files."""

    def __init__(self, bench):
        self.bench = bench

    def open(self):
        self.bench.module("ours")
        run(self.bench.plan["overlaybdsetup"], "open", "--config", CONFIG, "image")
        return "/dev/mapper/image"

    def close(self):
        run(self.bench.plan["overlaybdsetup"], "close", "image")


class Ramdisks:
    """The image over ramdisks."""

    def __init__(self, bench):
        self.bench = bench

    def open(self):
        bench = self.bench
        bench.module("ours")
        table = f"0 {bench.images['ext4']['bytes'] // SECTOR} lsmt_target"
        for layer in LAYERS:
            table += f" {bench.create(layer, bench.zfile_table(layer))}"
            table += f" {bench.images[layer]['content']}"
        return bench.create("image", table)

    def close(self):
        self.bench.remove("image", *LAYERS)


def reads(bench, contender, device):
    """One read at a time, two by two readers, and 16 by one."""
    content = bench.images["ext4"]["bytes"]
    bench.cells("peer-", contender, device, content)
    options = ["--seconds", bench.plan["seconds"], "--seed", bench.round + 1, "--limit", content]
    many = ["device", device, "--depth", 16, *options]
    bench.rate("peer-rand-4k-16", contender, *many, "--bytes", 4096)
    bench.bandwidth("peer-rand-128k-16", contender, *many, "--bytes", 128 << 10)
    done = bench.reader("device", device, *options, "--bytes", 4096)
    bench.sample("peer-latency", contender, done["ns"] / done["reads"] / 1e3, "us")


def start(bench, contender, served, files):
    """From nothing to a mounted image, and to all files read."""
    drop_caches()
    begin = time.monotonic()
    device = served.open()
    run("mount", "-t", "ext4", "-o", "ro", device, f"{MNT}/image")
    mounted = time.monotonic()
    done = bench.read_files(files, 2)
    bench.sample("peer-mount", contender, (mounted - begin) * 1e3, "ms")
    bench.sample("peer-start", contender, mounted - begin + done["ns"] / 1e9, "s")
    run("umount", f"{MNT}/image")
    served.close()


def kill(bench, served):
    """Kills the process under load, and writes down what becomes of its device."""
    device = served.open()
    command = [bench.plan["reader"], "device", device, "--bytes", "4096", "--seconds", "3"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as reader:
        time.sleep(1)
        os.kill(served.pid, signal.SIGKILL)
        begin = time.monotonic()
        try:
            said = reader.communicate(timeout=PATIENCE)[0].strip()
            after = time.monotonic() - begin
            said = f"the reader ended after {after:.2f} s: {said or reader.returncode}"
        except subprocess.TimeoutExpired:
            said = f"the reader hung for {PATIENCE} s"
            reader.kill()
    listed = run(bench.plan["peer"], "list", check=False).strip()
    words = [said, f"list says: {listed or 'nothing'}"]
    words.append(f"{device} is {'still there' if os.path.exists(device) else 'gone'}")
    words.append(f"del says: {run(bench.plan['peer'], 'del', '-n', served.number).strip()}")
    words.append(f"a new one is {served.open()}")
    served.close()
    # These errors of the kernel are what was asked for.
    errors = [line for line in run("dmesg", "-c").splitlines() if bench.errors.search(line)]
    words.append(f"the kernel reports {len(errors)} errors")
    text = "; ".join(" ".join(word.split()) for word in words)
    bench.sample("peer-kill", "peer", text, "text")
    print(f"NOTE killed under load: {text}", flush=True)


def group_peer(bench):
    prepare(bench)
    served = {
        "ours": Files(bench),
        "ramdisks": Ramdisks(bench),
        "peer": Process(bench),
        # One reader is on the first CPU. Where the scheduler puts the process decides much.
        "peer-apart": Process(bench, "taskset", "-c", "1"),
    }
    os.makedirs(f"{MNT}/image", exist_ok=True)
    files = f"{MNT}/list"
    with open(files, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(
            f"{MNT}/image/{line}\n" for line in read(bench.images["list"]["path"]).splitlines()
        )
    for _ in bench.rounds("peer", 3):
        for contender, image in served.items():
            device = image.open()
            if bench.round == 0:
                bench.check(contender, device, "ext4")
            reads(bench, contender, device)
            if isinstance(image, Process):
                resident = re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{image.pid}/status"))
                bench.sample("peer-memory", contender, int(resident.group(1)) / 1024, "MiB")
            image.close()
            start(bench, contender, image, files)
    bench.complain()
    kill(bench, served["peer"])
    bench.disks.release()


GROUPS = {"peer": group_peer}
