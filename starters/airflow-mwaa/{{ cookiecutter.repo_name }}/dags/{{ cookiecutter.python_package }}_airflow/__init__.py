"""Runs the project's Kedro pipelines on Airflow. From the starter; `copier update` renews it."""
