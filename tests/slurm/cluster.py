"""A Slurm cluster of one node on this machine, for as long as a command runs.

    python tests/slurm/cluster.py snakemake --workflow-profile profiles/slurm ...

needs Debian's `slurm-wlm` and `munge`, and no rights: munged, slurmctld and slurmd run as plain processes of whoever
starts them, with a key, sockets, state and configuration of their own in a temporary folder, on free ports of
127.0.0.1. When the command ends, so do they and the jobs, and the folder goes. There is no accounting (sacct). The
node claims more memory than the machine may have, so that the study's jobs fit, and two GPUs that are /dev/null and
/dev/zero: Slurm counts and hands them out, and nothing can compute on them.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
WAIT = 60  # seconds for a daemon to come up, or to go

CONF = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
InactiveLimit=0
KillWait=5
MinJobAge=300
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
GRES = "NodeName=localhost Name=gpu File=/dev/null\nNodeName=localhost Name=gpu File=/dev/zero\n"


def program(name: str) -> str | None:
    """Where a daemon is: /usr/sbin is not on every user's PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def installed() -> bool:
    return all(map(program, (*DAEMONS, "sbatch")))


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start the cluster; the variables that a command needs to find it.

    Raises:
        RuntimeError: a daemon does not come up; with the end of its log.
    """
    home = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: that of a socket has 107 bytes at most
    env = {
        "SLURM_CONF": str(home / "slurm.conf"),
        "PATH": os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)]),
    }
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str, *flags: str) -> None:
        with (home / f"{name}.log").open("wb") as log:
            # Also when this process is killed and can stop nothing, its daemons end.
            command = ["setpriv", "--pdeathsig", "TERM", program(name) or name, *flags]
            daemons.append(
                subprocess.Popen(
                    command, env=os.environ | env, stdout=log, stderr=log, start_new_session=True
                )
            )

    def wait(name: str, *probe: str, says: str = "") -> None:
        until = time.monotonic() + WAIT
        while time.monotonic() < until and daemons[-1].poll() is None:
            done = subprocess.run(probe, env=os.environ | env, capture_output=True, text=True, check=False)
            if done.returncode == 0 and says in done.stdout:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{name} does not come up:\n{(home / f'{name}.log').read_text()[-2000:]}")

    try:
        write_configuration(home)
        flags = {"key-file": "key", "socket": "munge.socket", "pid-file": "pid", "seed-file": "seed"}
        # --force: the folder is closed to other users, which munged warns of.
        start(
            "munged", "--foreground", "--force", *(f"--{flag}={home / name}" for flag, name in flags.items())
        )
        wait("munged", "munge", f"--socket={home / 'munge.socket'}", "--no-input")
        start("slurmctld", "-D", "-f", env["SLURM_CONF"])
        wait("slurmctld", "scontrol", "ping", says="UP")
        start("slurmd", "-D", "-f", env["SLURM_CONF"], "-N", "localhost")
        wait("slurmd", "sinfo", "--noheader", "--format=%T", says="idle")
        yield env
    finally:
        if len(daemons) == len(DAEMONS):
            end_jobs(os.environ | env)
        for daemon in reversed(daemons):
            stop(daemon)
        shutil.rmtree(home)


def write_configuration(home: Path) -> None:
    """Key, configuration and folders of the daemons, under `home`."""
    for name in ("state", "spool", "bin"):
        (home / name).mkdir()
    key = home / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    conf = CONF.format(home=home, user=getuser(), cpus=len(os.sched_getaffinity(0)), ports=free_ports(2))
    (home / "slurm.conf").write_text(conf, encoding="utf-8")
    (home / "gres.conf").write_text(GRES, encoding="utf-8")
    # Snakemake's jobs call srun without any variable of Slurm, SLURM_CONF too: it would look in /etc/slurm.
    srun = home / "bin/srun"
    line = f'SLURM_CONF={home}/slurm.conf exec {program("srun")} "$@"'
    srun.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    srun.chmod(0o755)


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def end_jobs(env: dict[str, str]) -> None:
    """Cancel every job and wait until none is left; slurmd leaves the processes of its jobs running."""
    until = time.monotonic() + WAIT
    subprocess.run(["scancel", "--full", "--user", getuser()], env=env, capture_output=True, check=False)
    while time.monotonic() < until:
        left = subprocess.run(["squeue", "--noheader"], env=env, capture_output=True, text=True, check=False)
        if not left.stdout.strip():
            return
        time.sleep(0.2)


def stop(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.wait(WAIT)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


if __name__ == "__main__":
    if not sys.argv[1:] or not installed():
        sys.exit(
            f"{sys.argv[0]} COMMAND...: expected a command, and {', '.join(DAEMONS)} and sbatch installed"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with cluster() as found:
        command = subprocess.Popen(sys.argv[1:], env=os.environ | found, start_new_session=True)
        try:
            sys.exit(command.wait())
        finally:  # what it started goes with it, also when this is interrupted
            with suppress(ProcessLookupError):
                os.killpg(command.pid, signal.SIGKILL)
