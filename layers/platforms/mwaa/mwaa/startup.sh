# Sourced by each container of MWAA before Airflow starts: what is exported here, tasks see.
# MWAA takes AIRFLOW_HOME, AWS_REGION, PYTHONPATH and MWAA__* from nobody.
export AIRFLOW__CORE__LAZY_LOAD_PLUGINS=False  # lets plugins/preload.py work
export DO_NOT_TRACK=1
export KEDRO_LOGGING_CONFIG=/usr/local/airflow/plugins/logging.yml
