"""A run's epochs as they come, in one output that ends as the plain table of all of them."""

import time

from IPython.display import display

from src.evidence import accuracy, percent


class Progress:
    """Show the epochs of one run; called by training after each step."""

    def __init__(self, title, recipe):
        self.title, self.recipe, self.started, self.shown, self.before = title, recipe, None, 0.0, 0.0
        self.handle = display({"text/plain": f"{title}: starting"}, raw=True, display_id=True)

    def __call__(self, history, epoch, fraction):
        """Show how far training is, once a second: `fraction` of `epoch`, after the epochs of `history`."""
        now = time.perf_counter()
        done = len(history) + (fraction if len(history) < epoch else 0)
        if self.started is None:
            self.started, self.before = now, done
        if now - self.shown < 1:
            return
        self.shown = now
        left = ""
        if done > self.before:
            seconds = (now - self.started) / (done - self.before) * (self.recipe.epochs - done)
            left = f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"
        self._write(f"{self.title}: epoch {epoch} of {self.recipe.epochs}, {fraction:.0%} of it{left}", history)

    def finish(self, run):
        """Leave the table of a finished run behind."""
        how = f"{len(run.history)} epochs in {sum(epoch['seconds'] for epoch in run.history):.0f} s"
        if run.kept:
            how += ", trained by an earlier execution and picked up (fresh trains anew)"
        self._write(f"{self.title}: {how}", run.history)

    def _write(self, heading, history):
        lines = [heading, "", "epoch       lr  train loss  train accuracy  test loss  test accuracy  seconds"]
        for epoch in history:
            lines.append(
                f"{epoch['epoch']:5}  {epoch['lr']:7.5f}  {epoch['train_loss']:10.4f}  "
                f"{percent(accuracy(epoch, 'train')):>14}  {epoch['eval_loss']:9.4f}  "
                f"{percent(accuracy(epoch)):>13}  {epoch['seconds']:7.1f}"
            )
        self.handle.update({"text/plain": "\n".join(lines)}, raw=True)
