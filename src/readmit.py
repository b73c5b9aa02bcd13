"""Let evidence survive a change of code that changes no run, by proof: `python -m src.readmit`.

Every run of the evidence names the hash of the code that decided it. Where today's is another, this trains two epochs
of 2,000 images with the code of the evidence's commit and with today's, on this machine, in the evidence's precision
and in float32, as bfloat16 would round a small difference away. Where all weights and histories are equal to the last
bit, the evidence gets today's hash and says from which, at which commit and over how many steps; where a single one
differs, that is named and nothing is changed.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from src import model as models
from src import probe
from src.data import DataError, load_mnist, torchvision_root
from src.evidence import STEPS, path_of, read_step, read_study, write_evidence
from src.files import RESULTS, ROOT, shown, write
from src.identity import code_sha256
from src.recipe import Recipe
from src.runs import git_commit
from src.studies import STUDIES


class Refused(RuntimeError):
    """Say why the evidence is not readmitted."""


@dataclass(frozen=True)
class Job:
    """Say what is to be compared: one model and recipe, by the code with this hash and by today's."""

    title: str
    code_sha256: str
    commit: str
    split: str
    data_sha256: str
    model_then: str
    model_now: str
    recipe: dict
    seed: int
    precisions: list
    code_now: str

    def key(self):
        """Return what two jobs have in common that need only one proof."""
        facts = (self.code_sha256, self.split, self.data_sha256, self.model_now, self.recipe, self.precisions)
        return json.dumps(facts, sort_keys=True)

    def asked(self, then):
        """Return what src/probe.py is asked, of the code then or of today's."""
        model = self.model_then if then else self.model_now
        return {"model": model, "recipe": self.recipe, "seed": self.seed, "precisions": self.precisions}


def readmit(folder=RESULTS):
    """Bring the evidence in `folder` to today's code, all of it or nothing. Returns the paths that were rewritten.

    Raises Refused, ValueError for evidence that does not fit what is declared, OSError.
    """
    today = git_commit()
    if today == "unknown" or today.endswith("-dirty"):
        raise Refused(f"src/ is at {today}: commit it first, so that the evidence can name the code that readmitted it")
    contents = list(_evidence(folder))
    stale = []
    for content in contents:
        for name, entry, model_class in _arms(content):
            if entry["code_sha256"] != code_sha256(model_class):
                stale.append((content, entry, model_class, _job(content, name, entry, model_class)))
    if stale:
        load_mnist()  # downloads it where it is missing
    proofs = _proofs({job.key(): job for *_, job in stale})
    for content, entry, model_class, job in stale:
        content["environment"]["data_sha256"], proof = proofs[job.key()]
        entry["model"], entry["code_sha256"] = model_class.__name__, code_sha256(model_class)
        entry["readmitted"] = [*entry.get("readmitted", []), proof | {"by_commit": today}]
    if git_commit() != today:
        raise Refused("src/ was edited in the meantime: start again")
    changed = {path_of(content, folder): content for content, *_ in stale}
    before = {path: path.read_bytes() for path in changed}
    try:
        return [write_evidence(content, folder) for content in changed.values()]
    except OSError:
        for path, content in before.items():
            write(path, content)
        raise


def _evidence(folder):
    for of in [{"step": step} for step in STEPS] + [{"study": name} for name in STUDIES]:
        path = path_of(of, folder)
        if path.exists():
            if "step" in of:  # is it evidence?
                read_step(of["step"], folder)
            else:
                read_study(of["study"], folder)
            # As it stands: the code of its time does not know fields that a Recipe got since.
            yield json.loads(path.read_text(encoding="utf-8"))


def _arms(content):
    """Yield the name, the entry and today's model class of each arm."""
    for name, entry in content["models"].items():
        if "step" in content:
            if not hasattr(models, name):
                raise ValueError(f"{_title(content)} has {name}, which is not in src/model.py any more")
            yield name, entry, getattr(models, name)
            continue
        arms = STUDIES[content["study"]].arms
        if name not in arms:
            raise ValueError(f"{_title(content)} has an arm {name!r}, which src/studies.py does not declare")
        model_class, recipe = arms[name]
        if Recipe(**entry["recipe"]) != recipe:
            raise ValueError(f"{_title(content)}, {name}: the recipe is not the declared one, so run the study again")
        yield name, entry, model_class


def _title(content):
    return f"Step {content['step']}" if "step" in content else f"study {content['study']}"


def _job(content, name, entry, model_class):
    run, environments = entry["runs"][0], [run.get("environment", {}) for run in entry["runs"]]
    commit = (content["environment"] | environments[0])["git_commit"]
    for earlier in entry.get("readmitted", []):
        commit = earlier["by_commit"]
    return Job(
        title=f"{_title(content)}, {name}",
        code_sha256=entry["code_sha256"],
        commit=commit.removesuffix("-dirty"),
        split=content["split"],
        data_sha256=content["environment"]["data_sha256"],
        model_then=entry["model"],
        model_now=model_class.__name__,
        recipe=entry["recipe"],
        seed=run["seed"],
        precisions=sorted({"float32"} | {(content["environment"] | made_in)["precision"] for made_in in environments}),
        code_now=code_sha256(model_class),
    )


def _proofs(jobs):
    """Prove each of `jobs`, by key: the data's hash today, and what the evidence will say of the proof."""
    proofs, commits = {}, {}
    with _worktree() as tree:
        for job in jobs.values():
            if job.code_sha256 not in commits:
                commits[job.code_sha256] = _commit_with(job, tree)
        for commit, split in sorted({(commits[job.code_sha256], job.split) for job in jobs.values()}):
            chosen = [job for job in jobs.values() if (commits[job.code_sha256], job.split) == (commit, split)]
            _check_out(tree, commit)
            with ThreadPoolExecutor() as both:
                then = both.submit(_probe, tree, [job.asked(then=True) for job in chosen], split)
                now = both.submit(_probe, ROOT, [job.asked(then=False) for job in chosen], split)
            for job, before, after in zip(chosen, then.result(), now.result(), strict=True):
                title = f"{job.title}, by the code of {commit[:9]} and by today's"
                if before["data_sha256"] != job.data_sha256:
                    raise Refused(f"{title}: the data at hand are not those of the evidence; set MNIST_ROOT")
                if after["code_sha256"] != job.code_now:
                    raise Refused("src/ was edited in the meantime: start again")
                _compare(title, before, after)
                epochs = after["runs"]["float32"]["history"]
                steps = sum(math.ceil(epoch["train_total"] / job.recipe["batch_size"]) for epoch in epochs)
                print(f"{title}: equal to the last bit over {steps} steps", flush=True)
                proof = {"from_code_sha256": job.code_sha256, "at_commit": commit, "steps": steps}
                proof["precisions"] = job.precisions
                proofs[job.key()] = after["data_sha256"], proof
    return proofs


def _compare(title, before, after):
    """Raise Refused with the first thing that differs."""
    if before["precision"] != after["precision"]:
        raise Refused(f"{title}: the precision here is {before['precision']} and {after['precision']}")
    for precision, was in before["runs"].items():
        now = after["runs"][precision]
        for one, other in zip(was["history"], now["history"], strict=True):
            for name, old in one.items():
                new = other.get(name)
                if old != new and name != "seconds":
                    raise Refused(f"{title}: {name} of epoch {one['epoch']} in {precision} is {old} and {new}")
        for (_, old), (name, new) in zip(was["weights"].items(), now["weights"].items(), strict=True):
            if not torch.equal(old, new):
                raise Refused(f"{title}: the weights {name} differ in {precision}")


def _commit_with(job, tree):
    """Find the commit whose code has the evidence's hash: the one that the evidence names, else the latest."""
    trouble = ""
    for commit in [job.commit, *_git("log", "--format=%H", "--", "src").split()]:
        try:
            _check_out(tree, commit)
            (answer,) = _probe(tree, [job.asked(then=True)], job.split, only_hash=True)
        except subprocess.CalledProcessError:
            continue  # that commit is gone
        except Refused as error:  # its code cannot be asked
            trouble = f" ({error})"
            continue
        if answer["code_sha256"] == job.code_sha256:
            return commit
    raise Refused(
        f"{job.title}: no commit has the code {job.code_sha256[:9]} of this evidence, so train it again{trouble}"
    )


def _probe(folder, jobs, split, only_hash=False):
    """Run src/probe.py with the code in `folder`."""
    with tempfile.NamedTemporaryFile() as out, torchvision_root() as root:
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "MNIST_ROOT": root}
        # -P: not the folder of probe.py before that of the code which it is to try.
        done = subprocess.run(
            [sys.executable, "-P", probe.__file__, out.name], cwd=folder, env=environment,
            input=json.dumps({"jobs": jobs, "split": split, "only_hash": only_hash}), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            *_, said = ["no message", *done.stderr.strip().splitlines()]
            raise Refused(f"the code in {folder} cannot be tried: {said}")
        return torch.load(out.name, weights_only=True)


@contextmanager
def _worktree():
    """Yield the folder of a second checkout, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(outside, "checkout")
        _git("worktree", "add", "--quiet", "--detach", str(folder), "HEAD")
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _check_out(tree, commit):
    _git("checkout", "--quiet", "--detach", "--force", commit, cwd=tree)


def _git(*words, cwd=ROOT):
    return subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True).stdout


def main():
    try:
        written = readmit()
    except (Refused, DataError, OSError, TypeError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"Nothing is changed. {error}")
    for path in written:
        print(f"Rewritten: {shown(path)}")
    if not written:
        print("All evidence is of today's code.")


if __name__ == "__main__":
    main()
