"""How long tasks outlive Airflow's API server, as each platform's project configures them."""

import pytest

from tests.airflow_settings import defaults, of_platform
from tests.standins.mwaa_environment import ESSENTIAL, OPINIONATED

OUTAGE = 300
PLATFORMS = {
    "astro": of_platform("astro"),
    "mwaa": OPINIONATED | of_platform("mwaa") | ESSENTIAL,
    "k8s": of_platform("k8s"),
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_task_outlives_five_minutes_without_the_api_server(platform):
    settings = defaults() | PLATFORMS[platform]
    shortest = float(settings["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MIN"])
    longest = float(settings["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX"])
    pauses = int(settings["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"]) - 1
    means = [(shortest + min(longest, 2.0**number)) / 2 for number in range(pauses)]
    assert sum(means) >= 2 * OUTAGE  # on average, as each pause is random
    # A task is as long without a sign of life, and then asks again after the longest pause.
    silence = OUTAGE + longest
    assert float(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"]) > silence
    # A token is renewed when a fifth of its time is left.
    assert float(settings["AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME"]) / 5 > silence
