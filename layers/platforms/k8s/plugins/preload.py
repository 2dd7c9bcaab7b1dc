
    with contextlib.suppress(ImportError):  # what starts the pods of tasks
        importlib.import_module("airflow.providers.cncf.kubernetes.operators.pod")
