"""A run's epochs as they come: one printed row each, and above them a line that says how long it will take."""

import math
import time

from IPython.display import display

from src.evidence.runs import Trained
from src.learn.recipe import Recipe
from src.learn.schedules import learning_rate
from src.learn.training import EpochMetrics
from src.report.text import percent

HEADER = "epoch       lr  train loss  train accuracy  test loss  test accuracy  seconds"


class Progress:
    """Show the epochs of one run; called by training after each step.

    The rows are printed, so that `papermill --log-output` shows them in the terminal; the line above is updated in
    place, so that the saved notebook holds the last of it only.
    """

    def __init__(self, title: str, recipe: Recipe):
        self.title, self.recipe, self.started, self.updated, self.before, self.rows = title, recipe, None, 0.0, 0.0, 0
        self.line = display({"text/plain": f"{title}: starting"}, raw=True, display_id=True)

    def __call__(self, history: list[EpochMetrics], done: float) -> None:
        """Show how far training is, once a second: `done` epochs, 2.5 in the middle of the third."""
        self._print(history)
        now = time.perf_counter()
        if self.started is None:
            self.started, self.before = now, done
        if now - self.updated < 1:
            return
        self.updated = now
        left = ""
        if done > self.before:
            seconds = (now - self.started) / (done - self.before) * (self.recipe.epochs - done)
            left = f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"
        self._say(f"{done:.2f} of {self.recipe.epochs} epochs{left}")

    def finish(self, trained: Trained) -> None:
        """Print what is left of a finished run, and say what it took."""
        run = trained.run
        self._print(run.history)
        how = f"{len(run.history)} epochs in {sum(epoch.seconds for epoch in run.history):.0f} s"
        if trained.kept:
            how += ", kept from an earlier execution (-p fresh True trains anew)"
        self._say(how)

    def _print(self, history):
        if history and not self.rows:
            print(HEADER)
        for epoch in history[self.rows :]:
            steps = math.ceil(epoch.train_total / self.recipe.batch_size)
            lr = learning_rate(self.recipe, epoch.epoch * steps - 1, self.recipe.epochs * steps)  # of its last step
            print(
                f"{epoch.epoch:5}  {lr:7.5f}  {epoch.train_loss:10.4f}  {percent(epoch.train_accuracy):>14}  "
                f"{epoch.eval_loss:9.4f}  {percent(epoch.accuracy):>13}  {epoch.seconds:7.1f}",
                flush=True,
            )
        self.rows = len(history)

    def _say(self, what):
        self.line.update({"text/plain": f"{self.title}: {what}"}, raw=True)
