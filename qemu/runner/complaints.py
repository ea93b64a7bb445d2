# SPDX-License-Identifier: GPL-2.0
"""The lines by which a kernel reports that something is wrong.

These are warnings, oopses, and the reports of the debugging kernel's checkers. Fault injection,
which some cases use, makes allocations fail before the kernel would report them.
"""

import re

PATTERN = re.compile(
    "|".join(
        [
            r"\bWARNING: ",
            r"\*WARNING\*",
            r"\bBUG: ",
            r"\bBUG at ",
            r"\bOops\b",
            r"general protection fault",
            r"double fault",
            r"Kernel panic",
            r"panicked at",
            r"\bKASAN: ",
            r"\bUBSAN: ",
            r"\bODEBUG: ",
            # A stack, unless a case requested it; and what arm64 prints before one.
            r"\bCall [Tt]race:",
            r"\bInternal error: ",
            r"Unable to handle kernel ",
            # SLUB's reports name the cache where others have a colon.
            r"\bBUG .+ \((Not t|T)ainted",
            r"\bFIX \S+: ",
            r"\bSLUB:? .*([Uu]nable|useless|counted)",
            r"INFO: task .* blocked",
            r"INFO: .*\b(stall|stalls|detected)\b",
            r"rcu: INFO: ",
            r"soft lockup",
            r"workqueue lockup",
            # Lockdep, which then stops checking.
            r"INFO: trying to register non-static key",
            r"INFO: lockdep is turned off",
            r"locking correctness validator",
            r"bad unlock balance",
            r"bad path found in chain graph",
            # kmemleak. The number of leaks is for run-cases.sh to judge.
            r"kmemleak: (Found|Memory pool|Cannot|Partially|Not |Adding|Scan area)",
            r"kmemleak: (Setting|Updating|Unknown|Failed)",
            r"memory leak detector disabled",
            r"Kmemleak disabled",
            r"page allocation failure",
            r"vmalloc error: ",
            r"[Oo]ut of memory: ",
            r"oom-kill:",
            r"invoked oom-killer",
            r"list_(add|del) corruption",
            r"refcount_t: ",
            r"Bad page ",
            r"stack-protector: ",
            r"scheduling while atomic",
            r"sleeping function called",
            r"corrupted stack end",
            r"disagrees about version of symbol",
            r"Unknown rela relocation",
            r"Unknown symbol",
        ]
    )
)

# After one of these the shell of the case may never continue. A panic ends QEMU.
FATAL = re.compile(r"\bOops\b|kernel BUG at|Kernel panic")

# Once the time of a case is over, the guest requests the stacks of the tasks that wait.
STACKS_REQUESTED = "sysrq: Show Blocked State"
