"""How like the training digits an image is to a network. Softmax does not tell: it is sure of scribbles, too."""

from dataclasses import dataclass

import torch
from torch import nn

from src.learn.images import as_float
from src.learn.training import predict

UNLIKE = 0.01  # of the training images are further away than the limit
ACTIVATIONS = nn.Hardswish, nn.ReLU
RIDGE = 1e-3  # added to the covariance, as a part of the mean variance: a dead map has none


@dataclass(frozen=True)
class Familiarity:
    """Where the training images lie, class by class, and how far from them is too far.

    `means` (classes, maps) is the mean activity of each class. `whitening` (maps, maps) makes the covariance that the
    classes share the identity. `limit` is for `distance`.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    limit: float

    def distance(self, activity):
        """Return the squared Mahalanobis distance of activity (N, maps) to the nearest class, (N,): Lee et al. 2018."""
        gaps = (activity.to(self.means)[:, None] - self.means) @ self.whitening
        return gaps.square().sum(2).amin(1)


def logits_and_activity(model, images, recipe, statistics):
    """Return the logits (N, classes) of uint8 images (N, 1, 28, 28) and how strongly each map responds: (N, maps).

    That is the root mean square over a map behind an activation.
    """
    found = {module: [] for module in model.modules() if isinstance(module, ACTIVATIONS)}

    def remember(module, _, maps):
        found[module].append(as_float(maps).square().mean((2, 3)).sqrt())

    hooks = [module.register_forward_hook(remember) for module in found]
    try:
        logits = predict(model, images, recipe, statistics)
    finally:
        for hook in hooks:
            hook.remove()
    none = logits.new_empty(len(logits), 0)  # of a network without these activations, which is never warned of
    return logits, torch.cat([none, *map(torch.cat, found.values())], dim=1)


def familiarity_of(activity, labels):
    """Return the Familiarity with images of activity (N, maps) and labels (N,)."""
    activity, (classes, index) = activity.double().cpu(), labels.cpu().unique(return_inverse=True)
    means = torch.stack([activity[index == at].mean(0) for at in range(len(classes))])
    rest = activity - means[index]
    covariance = rest.T @ rest / len(rest)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance))
    found = Familiarity(means.float(), whitening.float(), 0.0)
    return Familiarity(found.means, found.whitening, found.distance(activity).quantile(1 - UNLIKE).item())
