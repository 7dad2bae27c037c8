"""Self-reports of the same people in several places: errors by clusters, and who predicts whose differences.

    python bench/selfreport.py [FOLDER]        (default: ../shared/data/cozie_selfreport beside the project)

Floors of a building stand for districts, votes on comfort, temperature, noise and light (100: no change wanted, 0: any
other answer) for marks. Differences between floors are estimated on a random half of the volunteers and held against
what the other half says, each person against the person's own mean: the share of that variation which is predicted.
"No difference" predicts 0. Repeated over 200 divisions, and once with each person left out.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from analytics.contrasts import (
    Answers,
    Personal,
    chosen_shrinkage,
    explained,
    mean_of,
    person_centred,
    personal,
    pooled,
    saved,
)

QUESTIONS = ("comfort", "thermal", "noise", "light")
DIVISIONS = 200


def read(path: Path) -> dict[str, Answers]:
    """Question -> answers with a known floor; persons and floors are numbered alike in all questions."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Floor"]]
    people = sorted({row["vol"] for row in rows}, key=int)
    floors = sorted({row["Floor"] for row in rows}, key=int)
    found = {}
    for question in QUESTIONS:
        own = [row for row in rows if row[question]]
        found[question] = Answers(
            np.array([people.index(row["vol"]) for row in own]),
            np.array([floors.index(row["Floor"]) for row in own]),
            np.array([100.0 * (row[question] == "10") for row in own]),
        )
    return found


def errors(answers: dict[str, Answers], floors: int) -> None:
    print("standard error of a floor's mean (points): as if answers were independent, and by volunteers")
    ratios = []
    for question, own in answers.items():
        for floor in range(floors):
            if len(np.unique(own.person[own.district == floor])) < 2:
                continue
            mean = mean_of(own, floor)
            if mean.naive_error:
                ratios.append(mean.clustered_error / mean.naive_error)
            figures = f"{mean.value:5.1f}  ±{mean.naive_error:4.1f}  ±{mean.clustered_error:4.1f}"
            print(f"  {question:<8} floor {floor + 1}: {figures}   {mean.answers} answers of {mean.people}")
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    print(f"  clustered over naive: {middle:.1f} [{low:.1f} {high:.1f}]")


Sums = dict[str, dict[int, Personal]]


def predictions(sums: Sums, learn: list[int]) -> dict[str, dict[str, np.ndarray]]:
    """Way -> question -> differences, learnt from these people."""
    taken = {question: [people[i] for i in learn] for question, people in sums.items()}
    shrinkage = chosen_shrinkage(list(taken.values()))
    return {
        "pooled": {question: pooled(people) for question, people in taken.items()},
        "person-centred": {question: person_centred(people, 1e-6) for question, people in taken.items()},
        "with shrinkage": {question: person_centred(people, shrinkage) for question, people in taken.items()},
    }


def halves(sums: Sums, people: list[int]) -> None:
    random = np.random.default_rng(0)
    scores: dict[str, list[list[float]]] = {}
    for _ in range(DIVISIONS):
        order = random.permutation(people).tolist()
        learn, rest = order[: len(order) // 2], order[len(order) // 2 :]
        for way, differences in predictions(sums, learn).items():
            scores.setdefault(way, []).append(
                [100 * explained([sums[q][i] for i in rest], differences[q]) for q in QUESTIONS]
            )
    print(f"differences learnt from one half, held against the other ({DIVISIONS} divisions): % of variation predicted")
    show({way: np.mean(rows, axis=0) for way, rows in scores.items()})
    mean = {way: np.mean(rows, axis=1) for way, rows in scores.items()}
    best = mean["with shrinkage"]
    print(
        f"  with shrinkage ahead over all questions: of pooled in {np.mean(best > mean['pooled']):.0%} "
        f"of the divisions, of no difference in {np.mean(best > 0):.0%}"
    )


def one_left_out(sums: Sums, people: list[int]) -> None:
    found: dict[str, np.ndarray] = {}
    variation = np.array([sum(p.variation for p in sums[q].values()) for q in QUESTIONS])
    for left in people:
        for way, differences in predictions(sums, [i for i in people if i != left]).items():
            gain = [100 * saved([sums[q][left]], differences[q]) for q in QUESTIONS]
            found[way] = found.get(way, np.zeros(len(QUESTIONS))) + np.array(gain) / variation
    print("each person predicted from all the others: % of variation predicted")
    show(found)


def show(found: dict[str, np.ndarray]) -> None:
    print(f"  {'':<16}" + "".join(f"{question:>9}" for question in (*QUESTIONS, "mean")))
    for way, values in {"no difference": np.zeros(len(QUESTIONS)), **found}.items():
        print(f"  {way:<16}" + "".join(f"{value:9.2f}" for value in (*values, values.mean())))


def main() -> int:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "cozie_selfreport"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=beside)
    path = parser.parse_args().folder / "votes.csv"
    if not path.is_file():
        sys.stderr.write(f"{path}: there is no such file; give the folder of votes.csv as an argument\n")
        return 2
    answers = read(path)
    floors = 1 + max(int(own.district.max()) for own in answers.values())
    sums = {question: personal(own, districts=floors) for question, own in answers.items()}
    people = sorted(set.intersection(*(set(own) for own in sums.values())))
    print(f"{len(people)} volunteers, {floors} floors, {sum(len(own.value) for own in answers.values())} answers")
    errors(answers, floors)
    halves(sums, people)
    one_left_out(sums, people)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
