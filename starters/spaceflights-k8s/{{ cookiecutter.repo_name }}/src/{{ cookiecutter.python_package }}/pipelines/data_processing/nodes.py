import pandas as pd


def preprocess_companies(companies: pd.DataFrame) -> pd.DataFrame:
    """Read `company_rating` as a fraction and `iata_approved` as a boolean."""
    return companies.assign(
        company_rating=companies["company_rating"].str.rstrip("%").astype(float) / 100,
        iata_approved=companies["iata_approved"] == "t",
    )


def preprocess_shuttles(shuttles: pd.DataFrame) -> pd.DataFrame:
    """Read `price` as a number of dollars and the completed checks as booleans."""
    return shuttles.assign(
        price=shuttles["price"].str.replace("[$,]", "", regex=True).astype(float),
        d_check_complete=shuttles["d_check_complete"] == "t",
        moon_clearance_complete=shuttles["moon_clearance_complete"] == "t",
    )


def create_model_input_table(
    shuttles: pd.DataFrame, companies: pd.DataFrame, reviews: pd.DataFrame
) -> pd.DataFrame:
    """Join each shuttle to its company and its reviews, and keep the complete rows."""
    reviewed = shuttles.merge(reviews, left_on="id", right_on="shuttle_id").drop(columns="id")
    table = reviewed.merge(companies, left_on="company_id", right_on="id")
    return table.dropna().reset_index(drop=True)
