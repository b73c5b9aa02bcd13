"""The studies: which models are trained by which recipe from which seeds. `python -m src.run_study NAME` runs one."""

from dataclasses import replace
from typing import NamedTuple

from src import variants
from src.evidence import Target
from src.model import Model_7, Model_8, Model_9
from src.training import Recipe


class Study(NamedTuple):
    """Say all that is to be said of a study.

    `arms` maps the name of each arm to its model and recipe; each is trained from each of the `seeds` and scored on
    the `split`: "test", or "validation" for a choice that must not see the test images. `figure` names the function
    of src/plots.py that draws the evidence. `readme` is where README tells of it beside the figure: "claim" (what it
    begins with, for one arm), "table" (of the seeds, which holds the claims too) or "" (nowhere).
    """

    arms: dict
    seeds: range
    target: Target = Target()
    split: str = "test"
    figure: str = "strip"
    readme: str = ""


AS_PUBLISHED = Recipe(rotation=5.0)  # line B's last
# Step 3's recipes. They were chosen on the validation split; results/search.md holds what was tried.
RECIPE = Recipe(
    epochs=15, optimizer="adamw", lr=0.01, weight_decay=0.01,
    rotation=10.0, translation=2.0, scale=0.1, shear=0.15, ema=0.998,
)  # fmt: skip
# A little less augmentation: on the validation split better for Model_9 and for short trainings.
MILD = replace(RECIPE, rotation=8.0, translation=1.5, scale=0.08, shear=0.1)
# A short training cannot wait for the average over a constant rate's noise: the rate falls. A very short one takes
# larger steps and averages over fewer.
FALLING = replace(RECIPE, schedule="cosine", warmup=0.2)
QUICK = replace(MILD, lr=0.02, schedule="cosine", warmup=0.2, ema=0.99)

STUDIES = {
    "record": Study({"Model_8": (Model_8, RECIPE)}, seeds=range(30), readme="claim"),
    "smallest": Study({"Model_9": (Model_9, MILD)}, seeds=range(10), readme="claim"),
    "fewest_epochs": Study(
        {
            "Model_8, 4 epochs": (Model_8, replace(QUICK, epochs=4)),
            "Model_8, 6 epochs": (Model_8, replace(QUICK, epochs=6)),
            "Model_8, 8 epochs": (Model_8, replace(FALLING, epochs=8)),
        },
        seeds=range(10),
        target=Target(last_epochs=1),
        readme="table",
    ),
    # What Model_7 lacks: a part of Model_8's recipe or all of it, freedom from dropout, sight of the whole image.
    "stall": Study(
        {
            "Model_7 as published": (Model_7, AS_PUBLISHED),
            "its weights averaged": (Model_7, replace(AS_PUBLISHED, ema=RECIPE.ema)),
            "no dropout": (variants.Model_7_NoDropout, AS_PUBLISHED),
            "Model_8's whole recipe": (Model_7, RECIPE),
            "that recipe, no dropout": (variants.Model_7_NoDropout, RECIPE),
            "that recipe, no dropout, a second pooling": (variants.Model_7_NoDropoutTwoPoolings, RECIPE),
        },
        seeds=range(5),
        figure="forest",
    ),
    # One ingredient taken away, or put back as the published networks had it. The falling rate begins with a warm-up.
    "ablation": Study(
        {
            "the whole recipe": (Model_8, RECIPE),
            "no averaging of weights": (Model_8, replace(RECIPE, ema=0.0)),
            "falling rate: cosine with warm-up": (Model_8, FALLING),
            "no augmentation": (Model_8, replace(RECIPE, rotation=0.0, translation=0.0, scale=0.0, shear=0.0)),
            "rotation up to 7 degrees only": (
                Model_8, replace(RECIPE, rotation=7.0, translation=0.0, scale=0.0, shear=0.0),
            ),
            "Model_9's milder augmentation": (Model_8, MILD),
            "SGD at 0.01, no weight decay": (Model_8, replace(RECIPE, optimizer="sgd", weight_decay=0.0)),
            "dropout 0.1": (variants.Model_8_Dropout, RECIPE),
            "ReLU": (variants.Model_8_ReLU, RECIPE),
            "BatchNorm after activation": (variants.Model_8_ActivationFirst, RECIPE),
            "third pooling for the average": (variants.Model_8_ThirdPooling, RECIPE),
            "13 channels in every layer": (variants.Model_8_EvenWidths, RECIPE),
        },
        seeds=range(5),
        figure="forest",
    ),
    # Up to Model_9 with its recipe, above with Model_8's.
    "frontier": Study(
        {
            "1,205 parameters": (variants.Model_8_1205, MILD),
            "2,424 parameters": (variants.Model_8_2424, MILD),
            "3,722 parameters": (variants.Model_8_3722, MILD),
            "Model_9": (Model_9, MILD),
            "6,306 parameters": (variants.Model_8_6306, RECIPE),
            "Model_8": (Model_8, RECIPE),
        },
        seeds=range(5),
        figure="frontier",
    ),
}  # fmt: skip
