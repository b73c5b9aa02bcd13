"""Bring every figure, table and number that is made from evidence in line with it: `python -m src.report`.

Tables stand between <!-- table: name --> and <!-- /table -->, numbers in prose between <!-- = name --> and <!-- / -->;
src/report/values.py says what the names stand for. Both stand in README.md, in the notebooks' Markdown, in
notebooks/exercises.md and in the Markdown files of results/.
"""

import json
import re
import sys
from pathlib import Path

from src import ROOT, display_path
from src import model as models
from src.evidence.results import read_benchmark
from src.evidence.schema import STEPS, path_to, read_named, steps, studies
from src.evidence.storage import RESULTS, write
from src.report import figures, text
from src.report.values import values

TABLE = re.compile(r"(<!-- table: (\w+) -->).*?(<!-- /table -->)", re.DOTALL)
NUMBER = re.compile(r"(<!-- = (.+?) -->).*?(<!-- / -->)", re.DOTALL)
# How the evidence of a study is drawn, where a text shows it.
DRAWN = {"model_8_confirmation": figures.strip, "published_models": figures.strip, "frontier": figures.frontier}
DRAWN |= dict.fromkeys(("model_7", "layout", *text.ABLATIONS), figures.forest)


def texts() -> dict[Path, str]:
    """Return what README.md, the notebooks and the other texts with tables or numbers should say, by path."""
    numbers = values()
    claims, ablations = text.read_claims(text.CLAIMS), list(map(read_named, text.ABLATIONS))
    tables = {
        "claims": text.claims_table(claims),
        "earlier": text.claims_table(text.read_claims(text.EARLIER)),
        "network": f"```python\n{text.layer_lines(models.Model_8)}\n```",
        "recipe": f"```text\n{read_named('model_8').arms['Model_8'].recipe}\n```",
        "steps": text.steps_table(steps()),
        "speed": text.speed_table(read_benchmark().programs),
        "search": "\n\n".join(map(text.search_table, studies(kind="search"))),
        "leaderboard": text.leaderboard_table(),
        "single_runs": text.single_runs_table(),
        "seeds_of_step_1": text.claims_table(text.claims_of(read_named("model_3")), "../results"),
        "seeds_of_step_2": text.claims_table(text.claims_of(read_named("published_models")), "../results"),
        "dropout_and_decay": text.combined_table(*text.DROPOUT_AND_DECAY),
        "swapped": text.combined_table(*text.SWAPPED),
        "changes": text.changes_table(*ablations, only=text.CHANGES),
        "model_7": text.changes_table(read_named("model_7")),
        "layout": text.changes_table(read_named("layout")),
        "ablations": text.changes_table(*ablations),
        "claims_of_step": text.claims_table(claims, "../results"),
    } | {f"Step{k}": text.card_table(read_named(f"Step{k}")) for k in STEPS}
    found = {}
    prose = (
        ROOT / "README.md",
        ROOT / "notebooks" / "exercises.md",
        RESULTS / "search" / "README.md",
        RESULTS / "studies" / "README.md",
        RESULTS / "leaderboard.md",
    )
    for path in prose:
        found[path] = filled(path.read_text(encoding="utf-8"), tables, numbers)
    for step in STEPS:
        path = ROOT / "notebooks" / f"Step{step}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = filled("".join(cell["source"]), tables, numbers).splitlines(keepends=True)
        found[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return found


def filled(markdown: str, tables: dict[str, str], numbers: dict[str, str]) -> str:
    """Fill in tables and numbers. Raises ValueError for a name that is neither."""
    if first := re.search(r"^\s*(<!-- = .+? -->)", markdown, re.MULTILINE):
        raise ValueError(f"{first[1]} begins a line, which Markdown would take for HTML: put a word before it")

    def number(match):
        if match[2] not in numbers:
            raise ValueError(f"{match[1]} is no number: correct the name, or add it to src/report/values.py")
        return match[1] + numbers[match[2]] + match[3]

    def table(match):
        if match[2] not in tables:
            raise ValueError(f"{match[1]} is no table: use one of {', '.join(tables)}")
        return "\n".join((match[1], tables[match[2]], match[3]))

    return NUMBER.sub(number, TABLE.sub(table, markdown))


def pictures() -> dict[Path, bytes]:
    """Draw every figure of results/ from the evidence, and return its PNG bytes by path."""
    found = steps()
    drawn = {RESULTS / f"{step.name}.png": figures.step_curves(step) for step in found}
    drawn[RESULTS / "overview.png"] = figures.overview(found)
    averaging = figures.epoch_by_epoch(read_named("ablation_training"), figures.AVERAGING)
    drawn[path_to("weight_averaging").with_suffix(".png")] = averaging
    drawn |= {path_to(name).with_suffix(".png"): draw(read_named(name)) for name, draw in DRAWN.items()}
    variants = [figures.variants(path, figures.png(figure)) for path, figure in drawn.items()]
    return {path: picture for both in variants for path, picture in both.items()}


def main() -> None:
    try:
        made = {path: content.encode() for path, content in texts().items()} | pictures()
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for path, content in made.items():
        same = Path(path).exists() and path.read_bytes() == content
        if not same:
            write(path, content)
        print(f"{display_path(path)}: {'up to date' if same else 'rewritten'}")


if __name__ == "__main__":
    main()
