# Airflow with the project's DAGs, for the chart: docker build --file deploy/airflow.Dockerfile .
# What the nodes need is in the project's own image: ../Dockerfile
FROM apache/airflow:slim-3.3.2-python3.12
# checkov:skip=CKV_DOCKER_2: the chart gives each service its probes
LABEL org.opencontainers.image.title="{{ cookiecutter.project_name }}: Airflow" \
      org.opencontainers.image.description="Apache Airflow with the DAGs of {{ cookiecutter.project_name }}"
# The providers of values.yaml and, but for secrets-vault.yaml's hashicorp, of the overlays, in the
# versions with which this version of Airflow was released.
RUN pip install --no-cache-dir --constraint "${HOME}/constraints.txt" \
    "apache-airflow[celery,cncf.kubernetes,fab,git,postgres]==${AIRFLOW_VERSION}"
COPY --chown=50000:0 dags /opt/airflow/dags
COPY --chown=50000:0 plugins /opt/airflow/plugins
USER 50000
