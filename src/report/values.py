"""The numbers in prose: a name for each, and where it comes from.

A text says `<!-- = model_8_holds -->30 of 30<!-- / -->`; `python -m src.report` writes what stands between. A number
that a new sentence needs gets a line in `values`.
"""

import functools
import statistics
from dataclasses import replace
from typing import NamedTuple

from src.evidence.intervals import fishers_p, paired_difference
from src.evidence.results import COMMON_LOOP, Gpu, read_benchmark, read_gpu, read_published, read_usps
from src.evidence.schema import Arm, Target, read_named
from src.report.text import accuracy_text, held_text, interval_text, mean_of


class Numbers(NamedTuple):
    """An arm of a study, or the model of a step, and what sentences say of it; every value is text."""

    arm: Arm
    target: Target

    @property
    def parameters(self) -> str:
        """How many parameters it has."""
        return f"{self.arm.parameters:,}"

    @property
    def holds(self) -> str:
        """In how many of its runs it holds its study's target."""
        return held_text(self.arm, self.target)

    @property
    def mean(self) -> str:
        """The mean of the final accuracies, in percent."""
        return f"{mean_of(self.arm).mean:.3f}"

    @property
    def lowest(self) -> str:
        """The lowest accuracy of all epochs that count, in percent."""
        return f"{self.arm.lowest(self.target):.2f}"

    @property
    def training(self) -> str:
        """The final accuracy on the training images, in percent."""
        return accuracy_text(self.arm.train_accuracies.values())

    def holds_at(self, percent: float) -> str:
        """In how many runs another accuracy is held in the epochs that count."""
        return held_text(self.arm, replace(self.target, accuracy=percent / 100))

    def test(self, epoch: int = 0) -> str:
        """The test accuracy of the first run after an epoch, by default the last, in percent."""
        return f"{self.arm.runs[0].history[epoch - 1].accuracy:.2f}"

    def loss(self, epoch: int = 0) -> str:
        """The test loss of the first run after an epoch, by default the last."""
        return f"{self.arm.runs[0].history[epoch - 1].eval_loss:.3f}"


class Difference(NamedTuple):
    """How far two arms differ, paired by seed, in points: text without a sign, and the 95 % interval with one."""

    points: str
    interval: str


def numbers(study: str, name: str = "") -> Numbers:
    """Return the Numbers of an arm, by default of the first, of a study or a step."""
    evidence = _read(study)
    return Numbers(evidence.arms[name] if name else next(iter(evidence.arms.values())), evidence.target)


_read = functools.cache(read_named)


def lowest_difference(one: Numbers, other: Numbers) -> Difference:
    """Return the difference in each run's lowest epoch of those that count."""
    return _difference(one.arm.lowest_by_seed(one.target), other.arm.lowest_by_seed(other.target))


def difference(one: Numbers, other: Numbers, epoch: int = 0) -> Difference:
    """Return the difference after an epoch, by default the last."""
    return _difference(*({run.seed: run.history[epoch - 1].accuracy for run in of.arm.runs} for of in (one, other)))


def average_difference(one: Numbers, other: Numbers) -> Difference:
    """Return the difference in the average of each run's epochs that count."""
    counted = (of.arm.counted(of.target).items() for of in (one, other))
    return _difference(*({seed: statistics.mean(each) for seed, each in of} for of in counted))


def _difference(values, others):
    gap = paired_difference(values, others)
    return Difference(f"{abs(gap.mean):.2f}", interval_text(gap))


def fisher(one: Numbers, other: Numbers) -> str:
    """Return p of Fisher's exact test that as many runs of two arms hold."""
    counts = ((of.arm.holding(of.target), len(of.arm.runs)) for of in (one, other))
    return f"{fishers_p(*next(counts), *next(counts)):.2g}"


def values() -> dict[str, str]:
    """Return every number that a text may name."""
    return _of_steps() | _of_step_1() | _of_step_2() | _of_step_3() | _of_others()


def _of_steps():
    """What README says of each step, and more than one text says."""
    step_1 = {name: numbers("Step1", name) for name in ("Model_1", "Model_2", "Model_3")}
    model_6, model_8 = numbers("published_models", "Model_6"), numbers("model_8_confirmation")
    return {
        "model_1_parameters": step_1["Model_1"].parameters,
        "model_3_parameters": step_1["Model_3"].parameters,
        "model_3_holds": numbers("model_3").holds,
        "model_3_decay_holds": numbers("model_3", "Model_3, learning-rate decay").holds,
        "model_6_parameters": model_6.parameters,
        "model_6_holds": model_6.holds,
        "model_6_holds_99.4": model_6.holds_at(99.4),
        "model_8_parameters": model_8.parameters,
        "model_8_holds": model_8.holds,
        "model_8_mean": model_8.mean,
        "model_8_lowest": model_8.lowest,
    }


def _of_step_1():
    model_1, model_2, model_3 = (numbers("Step1", f"Model_{k}") for k in (1, 2, 3))
    constant, decay = numbers("model_3"), numbers("model_3", "Model_3, learning-rate decay")
    lowest, final = lowest_difference(decay, constant), difference(decay, constant)
    return {
        "model_1_test": model_1.test(),
        "model_1_test_5": model_1.test(5),
        "model_1_loss": model_1.loss(),
        "model_1_loss_5": model_1.loss(5),
        "model_2_test": model_2.test(),
        "model_2_lowest": model_2.lowest,
        "model_3_lowest": model_3.lowest,
        "decay_lifts_lowest_of_model_3": lowest.points,
        "decay_lifts_lowest_of_model_3_interval": lowest.interval,
        "decay_lifts_final_of_model_3": final.points,
        "decay_lifts_final_of_model_3_interval": final.interval,
    }


def _of_step_2():
    model_4, model_5, model_6 = (numbers("published_models", f"Model_{k}") for k in (4, 5, 6))
    model_5_decay = numbers("model_5", "learning-rate decay")
    model_6_decay = numbers("published_models", "Model_6, learning-rate decay")
    shrunk = lowest_difference(numbers("model_3"), model_5)
    return {
        "model_4_holds": model_4.holds,
        "shrinking_costs": shrunk.points,
        "shrinking_costs_interval": shrunk.interval,
        "dropout_lifts": lowest_difference(model_6, model_5).points,
        "dropout_lifts_with_decay": lowest_difference(model_6_decay, model_5_decay).points,
        "decay_lifts_model_5": lowest_difference(model_5_decay, numbers("model_5")).points,
        "decay_lifts_model_6": lowest_difference(model_6_decay, model_6).points,
        "decay_lifts_average_of_model_6": average_difference(model_6_decay, model_6).points,
        "model_6_decay_holds_99.4": model_6_decay.holds_at(99.4),
        "model_6_training": numbers("Step2", "Model_6").training,
        "model_6_test": numbers("Step2", "Model_6").test(),
    }


def _of_step_3():
    model_8, raw, published = numbers("model_8"), numbers("raw_images"), numbers("model_5")
    recipe, network = "Model_8's recipe", "Model_8's network, Model_5's recipe"
    with_recipe, with_network = numbers("model_5", recipe), numbers("model_5", network)
    training, images, layers = (numbers(f"ablation_{of}") for of in ("training", "images", "network"))
    unaveraged = numbers("ablation_training", "no weight averaging")
    rival, rivals = functools.partial(numbers, "ablation_rivals"), numbers("ablation_rivals")
    early, pair = rival("no weight averaging, decay from epoch 4"), rival("no deslanting, no elastic distortion")
    preprocessing, both = lowest_difference(model_8, raw), numbers("layout", "Model_8")
    unchanging = lowest_difference(numbers("ablation_images", "no augmentation decay"), images)
    return {
        "averaged_holds": training.holds,
        "unaveraged_holds": unaveraged.holds,
        "averaging_p": fisher(training, unaveraged),
        "averaging_lifts_epoch_11": difference(unaveraged, training, 11).points,
        "averaging_lifts_final": difference(unaveraged, training).points,
        "early_decay_holds": early.holds,
        "early_decay_p": fisher(early, unaveraged),
        "early_decay_costs": lowest_difference(early, rivals).points,
        "augmentation_lifts": lowest_difference(images, numbers("ablation_images", "no augmentation")).points,
        "full_augmentation_costs": unchanging.points,
        "half_augmentation_costs": lowest_difference(rival("half of each augmentation, no decay"), rivals).points,
        "preprocessing_lifts": preprocessing.points,
        "preprocessing_lifts_interval": preprocessing.interval,
        "raw_images_hold": raw.holds,
        "deslanting_and_elastic_lift": lowest_difference(rivals, pair).points,
        "tuned_sgd_costs": lowest_difference(rival("SGD, rate and weight decay tuned"), rivals).points,
        "dropout_costs": lowest_difference(numbers("ablation_network", "dropout 0.1"), layers).points,
        "model_5_mean": published.mean,
        "model_5_new_recipe_holds": with_recipe.holds,
        "model_5_new_recipe_mean": with_recipe.mean,
        "model_8_old_recipe_holds": with_network.holds,
        "model_8_old_recipe_mean": with_network.mean,
        "recipe_lifts_model_8": lowest_difference(both, with_network).points,
        "network_lifts_old_recipe": lowest_difference(with_network, published).points,
        "network_lifts_new_recipe": lowest_difference(both, with_recipe).points,
        "model_7_new_recipe_holds": numbers("model_7", recipe).holds,
        "model_7_new_recipe_no_dropout_holds": numbers("model_7", "Model_8's recipe, no dropout").holds,
        "model_9_parameters": numbers("model_9_confirmation").parameters,
        "small_model_9_parameters": numbers("model_9").parameters,
        "small_model_9_holds": numbers("model_9").holds,
        "three_epochs_lowest": numbers("three_epochs_confirmation").lowest,
        "two_epochs_hold": numbers("three_epochs_confirmation", "Model_8, 2 epochs").holds,
        "mean_of_689_parameters": numbers("frontier", "689 parameters").mean,
        "mean_of_7043_parameters": numbers("frontier", "7,043 parameters").mean,
    }


def _of_others():
    """What was published, digits from USPS, times, a GPU."""
    published, usps, benchmark, gpu = read_published(), read_usps().accuracies(), read_benchmark(), read_gpu()
    comparable = [run for run in published.runs if run.keeps_to_the_assignment]
    holding = [run for run in comparable if min(run.accuracies[-Target().last_epochs :]) >= 99.4]
    example = usps["PyTorch's MNIST example"]
    ours, common = next(iter(benchmark.programs.values())), benchmark.programs[COMMON_LOOP]
    return {
        "published_runs": str(len(comparable)),
        "published_runs_hold": str(len(holding)),
        "published_best": f"{max(run.best for run in comparable):.2f}",
        "published_model_5": f"{published.rebuilt['Model_5'].best:.2f}",
        "published_model_6": f"{published.rebuilt['Model_6'].best:.2f}",
        "usps_model_8": f"{statistics.mean(usps['Model_8']['all']):.2f}",
        "usps_model_8_test_part": f"{statistics.mean(usps['Model_8']['test']):.2f}",
        "usps_pytorch_example": f"{statistics.mean(example['all']):.2f}",
        "benchmark_threads": str(benchmark.environment.threads),
        "benchmark_processor": benchmark.environment.processor,
        "times_sooner": f"{common.seconds / ours.seconds:.0f}",
        "gpu": gpu.environment.processor,
        "gpu_seconds_step_1": f"{gpu.steps['Step1'].seconds:.0f}",
        "gpu_seconds_step_2": f"{gpu.steps['Step2'].seconds:.0f}",
        "gpu_seconds_step_3": f"{gpu.steps['Step3'].seconds:.0f}",
        "gpu_model_1": _on_gpu(gpu, 1, "Model_1")[-1],
        "gpu_model_2": _on_gpu(gpu, 1, "Model_2")[-1],
        "gpu_model_2_lowest": min(_on_gpu(gpu, 1, "Model_2")[-5:]),
        "gpu_model_3_lowest": min(_on_gpu(gpu, 1, "Model_3")[-5:]),
        "gpu_model_8": _on_gpu(gpu, 3, "Model_8")[-1],
    }


def _on_gpu(gpu: Gpu, step: int, model: str):
    """Return a model's test accuracy after each epoch on a GPU, in percent, as text."""
    return [f"{correct / 100:.2f}" for correct in gpu.steps[f"Step{step}"].models[model].correct]
