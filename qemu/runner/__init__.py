# SPDX-License-Identifier: GPL-2.0
"""Runs guests: QEMU with a prepared kernel, the module, the VM cases and the images inside.

Each module imports from those above it in this list alone.

    host        folders, sets of programs, messages to the user
    complaints  the lines by which a kernel reports that something is wrong
    kernels     prepared kernels
    clock       the rate of the host's time stamp counter
    machine     QEMU's command line for a kernel and its disks
    guest       a running QEMU and its console
    kvm         whether a guest boots under KVM
    programs    the programs of a guest, with their libraries
    debian      what a guest with one of Debian's kernels needs besides
    manifest    the images of a guest, and tables of them
    disk        the root disk of a guest
    results     the verdicts of cases, printed and counted
    boot        one boot: the console protocol, and the verdict on each case
    schedule    which case runs in which guest
    command     the command line of qemu/vm

tests/bench boots its guests with host, kernels, machine, kvm and disk.
"""
