# Sourced by each container of MWAA before Airflow starts: what is exported here, tasks see.
# MWAA takes AIRFLOW_HOME, AWS_REGION, PYTHONPATH and MWAA__* from nobody.
export DO_NOT_TRACK=1
export KEDRO_LOGGING_CONFIG=/usr/local/airflow/plugins/logging.yml
