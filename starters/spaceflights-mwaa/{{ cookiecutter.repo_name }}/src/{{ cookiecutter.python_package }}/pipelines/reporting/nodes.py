import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression


def plot_passenger_capacity(shuttles: pd.DataFrame) -> Figure:
    """Plot the mean passenger capacity of each type of shuttle."""
    capacity = shuttles.groupby("shuttle_type")["passenger_capacity"].mean().sort_values()
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    axes.barh(capacity.index, capacity)
    axes.set(xlabel="Mean passenger capacity", ylabel="Shuttle type")
    return figure


def plot_company_rating(companies: pd.DataFrame) -> Figure:
    """Plot the distribution of company ratings, with and without IATA approval."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for approved, group in companies.groupby("iata_approved"):
        label = "approved by IATA" if approved else "not approved"
        axes.hist(group["company_rating"].dropna(), bins=20, range=(0, 1), alpha=0.6, label=label)
    axes.set(xlabel="Company rating", ylabel="Companies")
    axes.legend()
    return figure


def plot_price_prediction(
    regressor: LinearRegression, X_test: pd.DataFrame, y_test: pd.Series
) -> Figure:
    """Plot predicted against real prices; a perfect model would follow the line."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(y_test, regressor.predict(X_test), s=6, alpha=0.5)
    axes.axline((y_test.mean(), y_test.mean()), slope=1, color="black", linewidth=1)
    axes.set(xlabel="Price ($)", ylabel="Predicted price ($)")
    return figure
