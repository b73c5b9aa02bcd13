"""Runs side by side, one to a core: by Ray, on this machine or on the cluster at RAY_ADDRESS."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import ray
import torch

from src import ROOT
from src.evidence.git import git_commit
from src.evidence.runs import Trained, fit, keep, kept_run
from src.evidence.storage import KEPT
from src.learn.training import Job
from src.studies.command import CommandError, stop

THREADS = 1  # two runs with a thread each get more done than one run with two
RETRIES = 4  # of a run whose machine is lost
JOIN_SECONDS = 20
# A socket's name has at most 107 bytes (macOS: 103), of which Ray needs up to 68 for what it appends to the folder:
# "/ray/session_2026-01-31_23-59-59_999999_4194304/sockets/plasma_store".
LONGEST_FOLDER = (103 if sys.platform == "darwin" else 107) - 68
ADDRESS = os.environ.get("RAY_ADDRESS") or "local"


Key = TypeVar("Key")


class ClusterError(CommandError):
    """Say in one sentence why no cluster could be reached."""


def fit_all(jobs: dict[Key, Job], fresh: bool = False) -> Iterator[tuple[Key, Trained | Exception]]:
    """Call `fit` for each of `jobs`, by Ray's processes, and keep the runs. All jobs have the same data.

    Ray is started, or the cluster at RAY_ADDRESS joined, when the first run needs it, until this program ends. Yields
    each job's key, and the Trained run or the exception that it ended with, as each finishes. Raises ClusterError.
    """
    futures, folder = {}, KEPT if ADDRESS == "local" else None
    for key, job in jobs.items():
        if not fresh and (trained := kept_run(job)):
            yield key, trained
            continue
        if not ray.is_initialized():
            _connect()
        if not futures:
            data = ray.put(job.data)  # sent once
        futures[_fit.remote(replace(job, data=None), data, folder, fresh)] = key
    try:
        while futures:
            (future,), _ = ray.wait(list(futures))
            key = futures.pop(future)
            try:
                trained = ray.get(future)
                if folder is None:  # else `fit` has kept it here
                    keep(trained, jobs[key])
                yield key, trained
            except ray.exceptions.RayError as error:
                yield key, error
    except (KeyboardInterrupt, GeneratorExit):
        ray.shutdown()  # before the futures are forgotten, or Ray prints the errors of runs that nobody waits for
        raise


@ray.remote(num_cpus=1, max_retries=RETRIES)
def _fit(job, data, folder, fresh):
    torch.set_num_threads(THREADS)
    return fit(replace(job, data=data), folder=folder or KEPT, fresh=fresh)  # on a cluster each machine's own


def _connect():
    """Start Ray here, or join the cluster at ADDRESS within 30 s, and send src/ to it."""
    if ADDRESS != "local":
        _probe(ADDRESS)
    else:
        _check_sockets()
    logging.getLogger("ray").setLevel(logging.ERROR)
    variables = {"OMP_NUM_THREADS": str(THREADS), "MNIST_COMMIT": git_commit()}
    with tempfile.TemporaryDirectory() as job:
        shutil.copytree(ROOT / "src", f"{job}/src", ignore=shutil.ignore_patterns("__pycache__"))
        try:
            ray.init(
                ADDRESS, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR,
                runtime_env={"working_dir": job, "env_vars": variables},
            )  # fmt: skip
        except OSError:
            raise
        except Exception as error:  # Ray raises plain ones, too, as when its node does not start in time
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ClusterError(
                f"Ray could not start ({reason}): wait until the machine is less busy, and start the study again"
            ) from None
    signal.signal(signal.SIGTERM, stop)  # Ray has set one of its own


def _check_sockets():
    """Find out whether the names of Ray's sockets will be too long in the folder that it takes."""
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ or sys.platform == "darwin" else "TMPDIR"
    length = len(os.fsencode(os.environ.get(name, "/tmp")))
    if length > LONGEST_FOLDER:
        raise ClusterError(
            f"{name}, the folder for temporary files, has a name of {length} bytes, too long for Ray's sockets: set it "
            f"to one of at most {LONGEST_FOLDER}, such as /tmp"
        )


def _probe(address):
    """Join the cluster from another process first: a dead address would hold ray.init for many minutes."""
    program = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False)"
    try:
        if address.startswith("ray://"):
            raise ClusterError(
                f"RAY_ADDRESS is {address}: start the study on a machine of the cluster, with RAY_ADDRESS=auto"
            )
        subprocess.run([sys.executable, "-c", program, address], timeout=JOIN_SECONDS, capture_output=True, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise ClusterError(
            f"RAY_ADDRESS is {address}, where no Ray cluster can be joined: correct it, start the cluster "
            "(ray start --head), or unset it to use this machine alone"
        ) from None
