"""The notebooks' front door: what a notebook imports besides its models; `try_network` is for a network of yours."""

from src.evidence.schema import Target
from src.learn.recipe import Recipe
from src.notebook.settings import check_parameters
from src.notebook.show import (
    finish_step,
    fit_seeds,
    read_digit,
    save_networks,
    show_averaging,
    show_changes,
    show_confusion,
    show_curves,
    show_frontier,
    show_layers,
    show_loop,
    show_mistakes,
    show_network,
    show_samples,
    show_seeds,
    show_summary,
    show_usps,
    start_step,
    try_network,
)
