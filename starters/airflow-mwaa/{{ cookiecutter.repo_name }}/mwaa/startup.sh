# Sourced by each container of MWAA before Airflow starts: what is exported here, tasks see.
# MWAA takes AIRFLOW_HOME, AWS_REGION, PYTHONPATH and MWAA__* from nobody.
export AIRFLOW__CORE__LAZY_LOAD_PLUGINS=False  # lets plugins/preload.py work
# Tasks outlive five minutes without the API server: they ask it again for longer, and the scheduler
# waits longer for a sign of life before it takes them for dead.
export AIRFLOW__WORKERS__EXECUTION_API_RETRIES=25
export AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=600
export DO_NOT_TRACK=1
export KEDRO_LOGGING_CONFIG=/usr/local/airflow/plugins/logging.yml
