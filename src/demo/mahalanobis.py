"""How unlike the training digits an image is to a network. Softmax does not tell: it is sure of scribbles, too."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from src.learn.evaluation import Classifier
from src.learn.images import to_default_dtype

UNLIKE = 0.01  # of the training images are further away than the limit
ACTIVATIONS = nn.Hardswish, nn.ReLU
RIDGE = 1e-3  # added to the covariance, as a part of the mean variance: a dead map has none


@dataclass(frozen=True)
class MahalanobisDetector:
    """Where the training images lie, class by class, and how far from them is too far (Lee et al. 2018).

    `means` (classes, maps) is the mean activity of each class. `whitening` (maps, maps) makes the covariance that the
    classes share the identity. `limit` is for `distance`.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    limit: float

    def distance(self, activity: torch.Tensor) -> torch.Tensor:
        """Return the squared Mahalanobis distance of activity (N, maps) to the nearest class, (N,)."""
        gaps = (activity.to(self.means)[:, None] - self.means) @ self.whitening
        return gaps.square().sum(2).amin(1)


def logits_and_activity(classifier: Classifier, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N, classes) of uint8 images (N, 1, 28, 28) and how strongly each map responds: (N, maps).

    That is the root mean square over a map behind an activation.
    """
    found = {module: [] for module in classifier.model.modules() if isinstance(module, ACTIVATIONS)}

    def remember(module, _, maps):
        found[module].append(to_default_dtype(maps).square().mean((2, 3)).sqrt())

    hooks = [module.register_forward_hook(remember) for module in found]
    try:
        logits = classifier.predict(images)
    finally:
        for hook in hooks:
            hook.remove()
    none = logits.new_empty(len(logits), 0)  # of a network without these activations, which is never warned of
    return logits, torch.cat([none, *map(torch.cat, found.values())], dim=1)


def fitted_detector(activity: torch.Tensor, labels: torch.Tensor) -> MahalanobisDetector:
    """Return the detector that takes images of this activity (N, maps) and these labels (N,) for normal."""
    activity, (classes, index) = activity.double().cpu(), labels.cpu().unique(return_inverse=True)
    means = torch.stack([activity[index == at].mean(0) for at in range(len(classes))])
    rest = activity - means[index]
    covariance = rest.T @ rest / len(rest)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance))
    found = MahalanobisDetector(means.float(), whitening.float(), 0.0)
    return replace(found, limit=found.distance(activity).quantile(1 - UNLIKE).item())
