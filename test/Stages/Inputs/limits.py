# Runs a command and says whether it stayed within SECONDS of processor time and MEGABYTES of memory.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""limits.py SECONDS MEGABYTES COMMAND…"""
import resource
import subprocess
import sys

seconds, megabytes, command = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
code = subprocess.run(command, check=False).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
time, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3
print(f"{time:.1f} s of processor time, {memory:.0f} MB")
sys.exit(code or int(time > seconds or memory > megabytes))
