"""`edge gate`: what holds, what is broken, what nobody can tell, and what CI gets to read of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from scipy import stats as oracle

from bench.budget import Rule, load_budget
from bench.errors import BudgetError, NothingMatched
from bench.gate import Finding, _at_most, gate
from bench.report.findings import junit, markdown
from edge_runtime.cli import main
from edge_runtime.fits import Fit, FitTry
from edge_runtime.measured import Failure
from edge_runtime.record import Record
from edge_runtime.starts import Start

Make = Callable[..., Record]


def one(record: Record, baseline: Record | None = None, confirm: Record | None = None, **rule: Any) -> Finding:
    limits = Rule(number=1, **rule)
    (found,) = gate([record], [limits], baseline=baseline, confirm=confirm).findings
    return found


def test_a_limit_holds_is_broken_or_lies_within_the_interval(make_record: Make) -> None:
    record = make_record()
    assert one(record, metric="p50", limit=110e3).outcome == "holds"
    assert one(record, metric="p50", limit=90e3).outcome == "broken"
    unsure = one(record, metric="p50", limit=100.0e3)
    assert (unsure.outcome, unsure.reason) == ("unsure", "the limit lies within the interval: more rounds tell")
    assert gate([record], [Rule(number=1, metric="p50", limit=100.0e3)]).broken is False
    assert gate([record], [Rule(number=1, metric="p50", limit=100.0e3)], strict=True).broken is True


@pytest.mark.parametrize(
    ("metric", "holds", "breaks"),
    [
        ("total_peak", 48 * 2**20, 48 * 2**20 - 1),
        ("model_steady", 13 * 2**20, 13 * 2**20 - 1),
        ("resident", 43 * 2**20, 43 * 2**20 - 1),
        ("file_size", 3 * 2**20, 3 * 2**20 - 1),
        ("max_abs", 1e-6, 9e-7),
        ("cold_start", 161e6, 160e6),
    ],
)
def test_every_kind_of_figure_has_its_limit(make_record: Make, metric: str, holds: float, breaks: float) -> None:
    assert one(make_record(), metric=metric, limit=holds).outcome == "holds"
    assert one(make_record(), metric=metric, limit=breaks).outcome == "broken"


def test_starts_have_limits_by_what_the_page_cache_held(make_record: Make) -> None:
    phases = {"spawn": 10, "import": 20, "load": 30, "first": 40}
    starts = tuple(
        Start(contender="edge", cache=cache, resident_share=None, phases_ns={k: ns * times for k, ns in phases.items()})
        for cache, times in (("warm", 1), ("warm", 1), ("evicted", 7), ("evicted", 7))
    )
    record = replace(make_record(), starts=starts)
    assert one(record, metric="start_warm", limit=101).outcome == "holds"
    assert one(record, metric="start_evicted", limit=701).outcome == "holds"
    assert one(record, metric="start_evicted", limit=690).outcome == "broken"
    unknown = one(replace(record, starts=starts[:2]), metric="start_evicted", limit=1e12)
    assert (unknown.outcome, unknown.reason) == ("broken", "not measured, or of too few samples")
    assert one(record, contender="torch", metric="start_warm", limit=1e12).outcome == "broken"


def test_what_was_not_measured_answers_wrongly_or_never_ran_breaks_its_limit(make_record: Make) -> None:
    record = make_record()
    assert one(replace(record, memory=()), metric="total_peak", limit=1e12).outcome == "broken"
    assert one(record, metric="energy", limit=1e12).reason == "not measured, or of too few samples"
    assert one(make_record(wrong=("edge",)), metric="p50", limit=1e12).reason == "it answers wrongly"
    gone = replace(record.contenders[0], failure=Failure(kind="lost", reason="killed"))
    assert (
        one(replace(record, contenders=(gone, record.contenders[1])), metric="p50", limit=1e12).reason == "lost: killed"
    )


def test_a_memory_limit_is_judged_by_the_smallest_it_ran_within_and_names_its_mechanism(make_record: Make) -> None:
    def fitting(limit_bytes: int | None) -> Record:
        ran = FitTry(limit_bytes=limit_bytes or 2**20, ran=limit_bytes is not None, p50_ns=None, reason="")
        fit = Fit(contender="edge", mechanism="cgroup", limit_bytes=limit_bytes, tried=(ran,))
        return replace(make_record(), fits=(fit,))

    found = one(fitting(64 * 2**20), metric="fit", limit=64 * 2**20)
    assert (found.outcome, found.figure) == ("holds", "64.0 MiB (cgroup)")
    assert one(fitting(64 * 2**20), metric="fit", limit=63 * 2**20).outcome == "broken"
    none = one(fitting(None), metric="fit", limit=2**40)
    assert (none.outcome, none.reason) == ("broken", "it ran within none of the limits that were tried (cgroup)")
    assert one(make_record(), metric="fit", limit=2**40).reason == "not measured, or of too few samples"


def test_a_p99_holds_only_as_far_as_the_samples_show_it(make_record: Make) -> None:
    few, many = (make_record({"edge": 100.0}, rounds=2, samples=samples) for samples in (150, 600))
    found = one(few, metric="p99", limit=1e6)
    assert found.reason == "not shown with 0.95 confidence: needs 299 samples at least", "290 are left after the cut"
    assert one(many, metric="p99", limit=1e6).outcome == "holds"
    assert one(many, metric="p99", limit=100e3).reason.endswith("more than one in a hundred may be")


@pytest.mark.parametrize(("above", "count"), [(0, 299), (3, 1000), (20, 1000), (0, 0), (7, 7)])
def test_the_binomial_bound_is_scipys(above: int, count: int) -> None:
    assert _at_most(above, count, 0.01) == pytest.approx(oracle.binom.cdf(above, count, 0.01))


def test_a_speed_up_over_another_contender(make_record: Make) -> None:
    record = make_record()
    assert one(record, metric="p50", than="torch", min_speedup=3.5).outcome == "holds"
    unsure = one(record, metric="p50", than="torch", min_speedup=4.5)
    assert unsure.outcome == "unsure"
    assert unsure.reason == "the whole interval is below the limit, not confirmed: run edge bench --confirm --resume"
    twice = confirming(make_record(rounds=12), 1.0)
    assert one(twice, metric="p50", than="torch", min_speedup=4.5).outcome == "broken"
    better = confirming(make_record(rounds=12), 0.5)
    assert one(better, metric="p50", than="torch", min_speedup=7.0).outcome == "unsure"
    assert one(record, metric="p50", than="tvm", min_speedup=1.0).reason == "tvm is not in the record"


def confirming(record: Record, factor: float) -> Record:
    """Return the record with its rounds from the seventh as a second batch, in which ours takes so much longer."""
    return replace(
        record,
        confirming_from=6,
        launches=tuple(
            replace(x, block_ns=tuple(int(ns * factor) for ns in x.block_ns))
            if x.round >= 6 and x.contender == "edge"
            else x
            for x in record.launches
        ),
    )


def test_growth_breaks_only_when_a_second_batch_says_so_by_itself(make_record: Make) -> None:
    before, slower = make_record(), make_record({"edge": 120.0, "torch": 400.0}, rounds=12, seed=1)
    limit: dict[str, Any] = {"metric": "p50", "max_growth": 0.05}
    assert one(make_record(seed=2), before, **limit).outcome == "holds"
    again = one(confirming(slower, 1.0), before, **limit)
    assert (again.outcome, again.reason[-37:]) == ("broken", "confirmed by a second batch of rounds")
    once = one(confirming(slower, 1 / 1.15), before, **limit)
    assert (once.outcome, once.figure[:3]) == ("unsure", "+11"), "beyond doubt as a whole, not in the second batch"
    assert once.reason.endswith("not confirmed by a second batch of rounds")
    alone = one(slower, before, **limit)
    assert (alone.outcome, alone.reason[-48:]) == ("unsure", "not confirmed: run edge bench --confirm --resume")
    cut_short = replace(slower, confirming_from=7)
    assert one(cut_short, before, **limit).outcome == "unsure", "five rounds confirm nothing"
    assert one(slower, **limit).reason.startswith("relative to a baseline, and none was given")


def test_a_second_record_confirms_as_a_second_batch_does(make_record: Make) -> None:
    before, slower = make_record(), make_record({"edge": 120.0, "torch": 400.0}, seed=1)
    limit: dict[str, Any] = {"metric": "p50", "max_growth": 0.05}
    assert one(slower, before, slower, **limit).outcome == "broken"
    assert one(slower, before, make_record(seed=2), **limit).outcome == "unsure"


def test_growth_against_another_machine_is_broken_not_passed(make_record: Make) -> None:
    elsewhere = replace(make_record(), machine=replace(make_record().machine, key="other"))
    found = one(make_record(), elsewhere, metric="p50", max_growth=0.5)
    assert found.outcome == "broken"
    assert found.reason.startswith("not comparable: machine")


def test_budgets_are_about_what_their_patterns_match(make_record: Make) -> None:
    record = make_record()
    for match in ({"model": "dig*"}, {"board": "Board *"}, {"board": "local"}, {"threads": 1}, {"contender": "t*"}):
        assert one(record, metric="p50", limit=1e9, **match).outcome == "holds"
    with pytest.raises(NothingMatched, match="no budget is about any of digits/edge, digits/torch"):
        gate([record], [Rule(number=1, metric="p50", limit=1.0, threads=2)])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "budget is missing"),
        ("budget = []", "budget is"),
        ("[[budget]", "no TOML"),
        ('[[budget]]\nmetric = "p51"\nmax = "1 ms"', "p51"),
        ('[[budget]]\nmetric = "p50"', "exactly one of max"),
        ('[[budget]]\nmetric = "p50"\nmax = "1 ms"\nmax_growth = "5 %"', "exactly one of max"),
        ('[[budget]]\nmetric = "p50"\nmax = "1 MiB"', "expected a number with one of ns, us, ms, s"),
        ('[[budget]]\nmetric = "p50"\nmax = "-1 ms"', "expected a number"),
        ('[[budget]]\nmetric = "p50"\nmax = 5', "expected a string"),
        ('[[budget]]\nmetric = "max_abs"\nmax = nan', "finite"),
        ('[[budget]]\nmetric = "p50"\nmax = "1 ms"\nmodle = "x"', "unknown keys: modle"),
        ('[[budget]]\nmetric = "p50"\nthan = "torch"\nmax = "1 ms"', "belong together"),
        ('[[budget]]\nmetric = "p90"\nthan = "torch"\nmin_speedup = 2.0', "speed-ups are those of p50"),
        ('[[budget]]\nmetric = "energy"\nmax_growth = "5 %"', "give it a max instead"),
    ],
)
def test_a_budget_that_is_none_is_refused_with_the_field(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(BudgetError, match=r"b\.toml") as refused:
        load_budget(tmp_path / "b.toml")
    assert told in str(refused.value)


def test_units_are_read_into_those_of_the_metric(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(
        '[[budget]]\nmetric = "p50"\nmax = "1.5ms"\n[[budget]]\nmetric = "total_peak"\nmax = "2 MiB"\n'
        '[[budget]]\nmetric = "p50"\nmax_growth = "5 %"\n'
    )
    first, second, third = load_budget(tmp_path / "b.toml")
    assert (first.limit, second.limit, third.max_growth) == (1.5e6, 2 * 2**20, 0.05)


def test_junit_and_markdown_carry_hostile_names_as_text(make_record: Make) -> None:
    name = "a|b</testcase>&\x00\ud800\u202e"
    judged = gate([make_record({name: 100.0})], [Rule(number=1, contender="*", metric="p50", limit=1.0)])
    suites = ET.fromstring(junit(judged))
    assert suites.attrib == {"tests": "1", "failures": "1", "errors": "0", "skipped": "0"}
    (case,) = suites.iter("testcase")
    assert case.attrib["name"].startswith("a|b</testcase>&\\x00\\ud800\\u202e p50")
    assert "a\\|b&lt;/testcase&gt;" in markdown(judged)


BUDGET = '[[budget]]\nmetric = "p50"\nmax = "{limit}"\n[[budget]]\nmodel = "other"\nmetric = "p50"\nmax = "1 s"\n'


@pytest.mark.parametrize(("limit", "code"), [("110 us", 0), ("90 us", 1)])
def test_the_verb_exits_by_its_verdict_and_writes_what_ci_reads(
    limit: str, code: int, make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record().save(tmp_path / "r.json")
    (tmp_path / "b.toml").write_text(BUDGET.format(limit=limit))
    words = ["gate", str(tmp_path / "r.json"), "--budget", str(tmp_path / "b.toml")]
    words += ["--junit", str(tmp_path / "j.xml"), "--markdown", str(tmp_path / "g.md")]
    assert main(words) == code
    out = capsys.readouterr().out
    assert out.startswith("BROKEN: 2 limits" if code else "within budget: 2 limits, 1 hold, 1 about nothing here")
    assert ET.parse(tmp_path / "j.xml").getroot().attrib["failures"] == str(code)
    assert "| broken |" in (tmp_path / "g.md").read_text() or not code
    assert main([*words, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["broken"] is bool(code)


def test_a_budget_about_nothing_here_exits_with_three(
    make_record: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_record(model="another").save(tmp_path / "r.json")
    (tmp_path / "b.toml").write_text('[[budget]]\nmodel = "digits"\nmetric = "p50"\nmax = "1 s"\n')
    assert main(["gate", str(tmp_path / "r.json"), "--budget", str(tmp_path / "b.toml")]) == 3
    assert "no budget is about any of another/edge, another/torch" in capsys.readouterr().err


def test_the_budget_of_the_documentation_works(make_record: Make, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/ci.md").read_text()
    (tmp_path / "b.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    rules = load_budget(tmp_path / "b.toml")
    record = make_record(samples=600)
    outcomes = [found.outcome for found in gate([record], rules, baseline=record).findings]
    assert outcomes == ["holds"] * 6
