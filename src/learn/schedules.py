"""What changes from step to step of a training: each a pure function of the number of steps that were made."""

from src.learn.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Return the learning rate of a step, counted from 0, of `total` steps."""
    warmup, decay = round(recipe.warmup_fraction * total), round(recipe.lr_decay_fraction * total)
    if step < warmup:
        return recipe.lr * ((step + 1) / warmup)
    return recipe.lr * (min(1.0, (total - step) / decay) if decay else 1.0)


def augmentation_strengths(recipe: Recipe, step: int, total: int) -> dict[str, float]:
    """Return the strengths of augmentation of a step, counted from 0, of `total` steps."""
    decays = step >= total - round(recipe.augmentation_decay_fraction * total)
    return {name: recipe.augmentation_factor * full if decays else full for name, full in recipe.strengths.items()}


def ema_decay(recipe: Recipe, step: int) -> float:
    """Return how much of the average stays after a step, counted from 0; at first none does: the model is copied."""
    warming = (1 + step) / (10 + step) if recipe.ema_warmup else 1.0
    return min(recipe.ema_decay, warming) if step else 0.0
