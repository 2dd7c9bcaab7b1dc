"""The examples' raw data is what its script draws, with the columns of Kedro's tutorial."""

import shutil
import sys

import pandas as pd
import pytest

from tests.conftest import ROOT, run

EXAMPLES = ROOT / "layers" / "examples"
SPACEFLIGHTS = EXAMPLES / "spaceflights" / "data" / "01_raw"


@pytest.mark.slow
def test_raw_data_is_what_its_script_writes(tmp_path):
    copy = shutil.copytree(EXAMPLES, tmp_path / "examples")
    raw = sorted(copy.rglob("data/01_raw/[!.]*"))
    for path in raw:
        path.unlink()
    run(sys.executable, copy / "make_data.py", cwd=tmp_path)
    assert len(raw) == 4
    for path in raw:
        read = pd.read_excel if path.suffix == ".xlsx" else pd.read_csv
        pd.testing.assert_frame_equal(read(path), read(EXAMPLES / path.relative_to(copy)))


def test_spaceflights_has_the_columns_of_kedros_tutorial():
    assert list(pd.read_csv(SPACEFLIGHTS / "companies.csv")) == [
        *("id", "company_rating", "company_location", "total_fleet_count", "iata_approved")
    ]
    assert list(pd.read_csv(SPACEFLIGHTS / "reviews.csv")) == [
        *("shuttle_id", "review_scores_rating", "review_scores_comfort"),
        *("review_scores_amenities", "review_scores_trip", "review_scores_crew"),
        *("review_scores_location", "review_scores_price", "number_of_reviews"),
        "reviews_per_month",
    ]
    assert list(pd.read_excel(SPACEFLIGHTS / "shuttles.xlsx")) == [
        *("id", "shuttle_location", "shuttle_type", "engine_type", "engine_vendor", "engines"),
        *("passenger_capacity", "cancellation_policy", "crew", "d_check_complete"),
        *("moon_clearance_complete", "price", "company_id"),
    ]


def test_spaceflights_data_is_at_most_one_megabyte():
    assert sum(path.stat().st_size for path in SPACEFLIGHTS.iterdir()) <= 1_000_000
