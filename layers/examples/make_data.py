"""Write the raw data of the examples: `python layers/examples/make_data.py`.

Spaceflights has the columns of Kedro's tutorial with numbers of our own, drawn with a fixed seed:
the price is a sum over the features that the model uses, plus noise. Iris is the table of 150
flowers that scikit-learn ships (R. A. Fisher, 1936).
"""

import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

HERE = Path(__file__).parent
LOCATIONS = ["Luna", "Mars", "Europa", "Titan", "Ceres", "Io", "Ganymede", "Pallas", "Enceladus"]


def spaceflights(companies: int = 1200, shuttles: int = 4000) -> dict[str, pd.DataFrame]:
    """Draw companies, shuttles, and one row of reviews for each shuttle."""
    rng = np.random.default_rng(2001)

    def true_or_false(share: float, size: int) -> np.ndarray:
        return np.where(rng.random(size) < share, "t", "f")

    rating = rng.beta(8, 2, companies)
    company = pd.DataFrame(
        {
            "id": rng.permutation(np.arange(1, companies + 1)),
            "company_rating": [f"{100 * value:.0f}%" for value in rating],
            "company_location": rng.choice(LOCATIONS, companies),
            "total_fleet_count": rng.integers(1, 12, companies).astype(float),
            "iata_approved": true_or_false(0.4, companies),
        }
    )
    company.loc[rng.random(companies) < 0.1, "company_rating"] = None
    company.loc[rng.random(companies) < 0.1, "company_location"] = None

    capacity = rng.integers(1, 17, shuttles)
    engines = np.clip(capacity // 3 + rng.integers(0, 3, shuttles), 1, 8).astype(float)
    shuttle = pd.DataFrame(
        {
            "id": rng.permutation(np.arange(1, shuttles + 1)),
            "shuttle_location": rng.choice(LOCATIONS, shuttles),
            "shuttle_type": [f"Type V{number}" for number in rng.integers(1, 9, shuttles)],
            "engine_type": rng.choice(["Quantum", "Plasma", "Nuclear"], shuttles),
            "engine_vendor": rng.choice(["Orbital Works", "Sons of Newton", "Delta-V"], shuttles),
            "engines": engines,
            "passenger_capacity": capacity,
            "cancellation_policy": rng.choice(["strict", "moderate", "flexible"], shuttles),
            "crew": np.ceil(capacity / 4) + rng.integers(0, 2, shuttles),
            "d_check_complete": true_or_false(0.3, shuttles),
            "moon_clearance_complete": true_or_false(0.2, shuttles),
            "company_id": rng.choice(company["id"], shuttles),
        }
    )
    score = np.clip(rng.normal(94, 5, shuttles), 40, 100).round()
    owner = company.set_index("id").loc[shuttle["company_id"]]
    price = (
        800
        + 230 * shuttle["engines"]
        + 110 * shuttle["passenger_capacity"]
        + 90 * shuttle["crew"]
        + 350 * (shuttle["d_check_complete"] == "t")
        + 500 * (shuttle["moon_clearance_complete"] == "t")
        + 250 * (owner["iata_approved"] == "t").to_numpy()
        + 15 * (score - 90)
        + rng.normal(0, 200, shuttles)
    ).round()
    shuttle.insert(11, "price", [f"${value:,.1f}" for value in price])

    parts = ["comfort", "amenities", "trip", "crew", "location", "price"]
    review = pd.DataFrame(
        {
            "shuttle_id": shuttle["id"],
            "review_scores_rating": score,
            **{
                f"review_scores_{part}": np.clip(
                    score / 10 + rng.normal(0, 0.5, shuttles), 2, 10
                ).round()
                for part in parts
            },
            "number_of_reviews": rng.integers(0, 400, shuttles),
            "reviews_per_month": rng.gamma(2, 0.6, shuttles).round(2),
        }
    )
    review.loc[rng.random(shuttles) < 0.1, "review_scores_rating"] = None
    return {"companies": company, "shuttles": shuttle, "reviews": review}


def iris() -> pd.DataFrame:
    """Read scikit-learn's iris table, with the species by name."""
    bunch = load_iris(as_frame=True)
    table = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return table.assign(species=bunch.target_names[bunch.target])


def write_excel(table: pd.DataFrame, path: Path) -> None:
    """Write a workbook whose bytes do not depend on the clock."""
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        table.to_excel(writer, index=False)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in sorted(archive.namelist())}
    properties = "docProps/core.xml"
    entries[properties] = re.sub(rb"\d{4}-\d\d-\d\dT", b"2024-01-01T", entries[properties])
    entries[properties] = re.sub(rb"\d\d:\d\d:\d\dZ", b"00:00:00Z", entries[properties])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def main() -> None:
    raw = HERE / "spaceflights" / "data" / "01_raw"
    tables = spaceflights()
    tables["companies"].to_csv(raw / "companies.csv", index=False, lineterminator="\n")
    tables["reviews"].to_csv(raw / "reviews.csv", index=False, lineterminator="\n")
    write_excel(tables["shuttles"], raw / "shuttles.xlsx")
    iris().to_csv(HERE / "iris/data/01_raw/iris.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
