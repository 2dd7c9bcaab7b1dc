"""Refuse answers that would create a project that cannot be imported, built or run."""

import json
import re
import sys

# What each answer must look like, as a pattern and in words.
RULES = {
    "project_name": (
        r"^[^\W\d_][\w -]*[^\W_]\Z",
        "Use at least two letters, digits, spaces, hyphens or underscores, starting with a letter "
        "and ending with a letter or digit.",
    ),
    "repo_name": (
        r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?\Z",
        "Use lower-case ASCII letters, digits, hyphens, dots and underscores, starting and ending "
        "with a letter or digit.",
    ),
    "python_package": (
        r"^[a-z][a-z0-9_]*[a-z0-9]\Z",
        "Use at least two lower-case ASCII letters, digits or underscores, starting with a letter "
        "and ending with a letter or digit.",
    ),
}
TAKEN = (
    "is a Python keyword, a device of Windows, or the name of a module, a package or a command in "
    "the project's environment. Choose another one."
)

# compose.py begin: layers/refused_names.txt
REFUSED = """
a2wsgi abc activate_global_python_argcomplete adal adbc_driver_manager adbc_driver_postgresql
adbc_driver_sqlite adlfs aenum aifc aiobotocore aiofiles aiohappyeyeballs aiohttp aiohttp_cors
aioitertools aiomysql aiosignal aiosmtplib aiosqlite airbyte_api airflow akeyless alembic
alibabacloud_adb20211201 alibabacloud_credentials alibabacloud_credentials_api
alibabacloud_endpoint_util alibabacloud_gateway_spi alibabacloud_openapi_util alibabacloud_oss_v2
alibabacloud_tea alibabacloud_tea_openapi alibabacloud_tea_util alibabacloud_tea_xml amqp and
annotated_doc annotated_types annotationlib antigravity antlr4 antlr4_python3_runtime anyio
apache_airflow apache_airflow_core apache_airflow_providers_airbyte
apache_airflow_providers_akeyless apache_airflow_providers_alibaba apache_airflow_providers_amazon
apache_airflow_providers_apache_cassandra apache_airflow_providers_apache_drill
apache_airflow_providers_apache_druid apache_airflow_providers_apache_flink
apache_airflow_providers_apache_hdfs apache_airflow_providers_apache_hive
apache_airflow_providers_apache_iceberg apache_airflow_providers_apache_impala
apache_airflow_providers_apache_kafka apache_airflow_providers_apache_kylin
apache_airflow_providers_apache_livy apache_airflow_providers_apache_pig
apache_airflow_providers_apache_pinot apache_airflow_providers_apache_spark
apache_airflow_providers_apache_tinkerpop apache_airflow_providers_apprise
apache_airflow_providers_arangodb apache_airflow_providers_asana
apache_airflow_providers_atlassian_jira apache_airflow_providers_celery
apache_airflow_providers_clickhousedb apache_airflow_providers_cloudant
apache_airflow_providers_cncf_kubernetes apache_airflow_providers_cohere
apache_airflow_providers_common_ai apache_airflow_providers_common_compat
apache_airflow_providers_common_io apache_airflow_providers_common_messaging
apache_airflow_providers_common_sql apache_airflow_providers_databricks
apache_airflow_providers_datadog apache_airflow_providers_dbt_cloud
apache_airflow_providers_dingding apache_airflow_providers_discord apache_airflow_providers_docker
apache_airflow_providers_edge3 apache_airflow_providers_elasticsearch
apache_airflow_providers_exasol apache_airflow_providers_fab apache_airflow_providers_facebook
apache_airflow_providers_ftp apache_airflow_providers_git apache_airflow_providers_github
apache_airflow_providers_google apache_airflow_providers_grpc apache_airflow_providers_hashicorp
apache_airflow_providers_http apache_airflow_providers_imap apache_airflow_providers_influxdb
apache_airflow_providers_informatica apache_airflow_providers_jdbc apache_airflow_providers_jenkins
apache_airflow_providers_keycloak apache_airflow_providers_microsoft_azure
apache_airflow_providers_microsoft_mssql apache_airflow_providers_microsoft_psrp
apache_airflow_providers_microsoft_winrm apache_airflow_providers_mongo
apache_airflow_providers_mysql apache_airflow_providers_neo4j apache_airflow_providers_odbc
apache_airflow_providers_openai apache_airflow_providers_openfaas
apache_airflow_providers_openlineage apache_airflow_providers_opensearch
apache_airflow_providers_opsgenie apache_airflow_providers_oracle
apache_airflow_providers_pagerduty apache_airflow_providers_papermill
apache_airflow_providers_pgvector apache_airflow_providers_pinecone
apache_airflow_providers_postgres apache_airflow_providers_presto apache_airflow_providers_qdrant
apache_airflow_providers_redis apache_airflow_providers_salesforce apache_airflow_providers_samba
apache_airflow_providers_segment apache_airflow_providers_sendgrid apache_airflow_providers_sftp
apache_airflow_providers_singularity apache_airflow_providers_slack apache_airflow_providers_smtp
apache_airflow_providers_snowflake apache_airflow_providers_sqlite apache_airflow_providers_ssh
apache_airflow_providers_standard apache_airflow_providers_tableau
apache_airflow_providers_telegram apache_airflow_providers_teradata apache_airflow_providers_trino
apache_airflow_providers_vertica apache_airflow_providers_vespa apache_airflow_providers_weaviate
apache_airflow_providers_yandex apache_airflow_providers_ydb apache_airflow_providers_zendesk
apache_airflow_task_sdk apispec appdirs apprise apscheduler argcomplete argparse array arrow as
asana asgiref asn1crypto assert ast astronomer asttokens async async_timeout asynchat asyncio
asyncore asyncpg asyncssh atexit atlasclient atlassian_python_api attr attrs audioop authlib aux
await azure_ai_projects azure_batch azure_common azure_core azure_cosmos azure_datalake_store
azure_identity azure_keyvault_secrets azure_kusto_data azure_mgmt_compute
azure_mgmt_containerinstance azure_mgmt_containerregistry azure_mgmt_core azure_mgmt_cosmosdb
azure_mgmt_datafactory azure_mgmt_datalake_nspkg azure_mgmt_datalake_store azure_mgmt_nspkg
azure_mgmt_resource azure_mgmt_storage azure_nspkg azure_servicebus azure_storage_blob
azure_storage_file_datalake azure_storage_file_share azure_synapse_artifacts azure_synapse_spark
babel backoff backports backports_datetime_fromisoformat backports_strenum backports_zstd base64
bcrypt bdb beautifulsoup4 billiard binaryornot binascii binhex bisect bitarray black bleach blinker
boto3 botocore break bs4 build builtins bz2 cachelib cachetools cadwyn calendar
capi_param_builder_python cassandra_driver cattrs celery certifi cffi cffi_gen_src cgi cgitb
chardet charset_normalizer check_secrets chunk ciso8601 class click click_didyoumean click_plugins
click_repl clickhouse_connect cloudpickle cluster cmath cmd code codecs codeop cohere collections
colorama colorful colorlog colorsys com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 comm
compileall compression con concurrent conf configparser confluent_kafka contextlib contextvars
continue contourpy cookiecutter copy copyreg cprofile crcmod_plus cron_descriptor croniter crypt
cryptography csv ctypes curl curlify curses cycler daemon dags darabonba_core data
databricks_sql_connector dataclasses dataclasses_json datadog datetime dateutil db_dtypes dbm
debugpy decimal decorator def defusedxml del deploy deprecated deprecation difflib dill dis distlib
distro distutils dns dnspython docker docopt docstring_parser doctest dotenv durationpy dynaconf
ecdsa elastic_transport elasticsearch elif else email email_validator encodings ensurepip
entrypoints enum errno et_xmlfile eventlet events except exceptiongroup executing f2py
facebook_business fastapi fastapi_cli fastavro fastcore fastjsonschema fastuuid faulthandler fcntl
filecmp fileinput filelock finally flask flask_appbuilder flask_babel flask_bcrypt flask_caching
flask_jwt_extended flask_limiter flask_login flask_session flask_sqlalchemy flask_wtf flower fluent
fluent_logger fnmatch fonttools for fractions from frozenlist fsspec ftplib functools future gc
gcloud_aio_auth gcloud_aio_bigquery gcloud_aio_storage gcsfs genai_prices genericpath geomet getopt
getpass gettext gevent git gitdb gitpython glob global google google_ads google_analytics_admin
google_api_core google_api_python_client google_auth google_auth_httplib2 google_auth_oauthlib
google_cloud_aiplatform google_cloud_alloydb google_cloud_appengine_logging google_cloud_audit_log
google_cloud_automl google_cloud_batch google_cloud_bigquery google_cloud_bigquery_datatransfer
google_cloud_bigquery_storage google_cloud_bigtable google_cloud_build google_cloud_compute
google_cloud_container google_cloud_core google_cloud_datacatalog google_cloud_dataflow_client
google_cloud_dataform google_cloud_dataplex google_cloud_dataproc google_cloud_dataproc_metastore
google_cloud_dlp google_cloud_kms google_cloud_language google_cloud_logging
google_cloud_managedkafka google_cloud_memcache google_cloud_monitoring
google_cloud_orchestration_airflow google_cloud_os_login google_cloud_pubsub google_cloud_redis
google_cloud_resource_manager google_cloud_run google_cloud_secret_manager google_cloud_spanner
google_cloud_speech google_cloud_storage google_cloud_storage_control google_cloud_storage_transfer
google_cloud_tasks google_cloud_texttospeech google_cloud_translate google_cloud_videointelligence
google_cloud_vision google_cloud_workflows google_crc32c google_genai google_resumable_media
googleapis_common_protos graphlib graphviz greenback greenlet gremlinpython griffelib grp grpc
grpc_google_iam_v1 grpc_interceptor grpcio grpcio_gcp grpcio_health_checking grpcio_status
grpcio_tools gssapi gunicorn gzip h11 h2 hashlib hdfs heapq hf_xet hmac hmsclient hpack html http
httpcore httpcore2 httplib2 httpr httptools httpx httpx2 huggingface_hub humanize hvac hyperframe
ibm_cloud_sdk_core ibmcloudant idlelib idna if ijson images imaplib imghdr immutabledict imp import
importlib importlib_metadata importlib_resources impyla in include inflection influxdb3_python
influxdb_client iniconfig inspect invoke io ipaddress ipykernel ipython ipython_pygments_lexers is
isodate isoduration itertools itsdangerous jaraco_classes jaraco_context jaraco_functools
jaydebeapi jedi jeepney jinja2 jiter jmespath joblib joserfc jpype1 json jsonpath_ng
jsonpath_python jsonschema jsonschema_specifications jupyter_client jupyter_core
jupyterlab_pygments jwcrypto jwt kedro kedro_airflow kedro_datasets kedro_datasets_benchmarks
kedro_datasets_experimental kedro_telemetry keyring keyword kiwisolver kombu krb5 kubernetes
kubernetes_asyncio kylinpy lambda lazy_importer lazy_loader lazy_object_proxy lib2to3 libcst
license limits linecache linkify_it linkify_it_py litellm locale lockfile logfire_api logging
looker_sdk lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 lxml lz4 lzma mailbox mailcap mako
mako_render markdown markdown_it markdown_it_py markupsafe marshal marshmallow
marshmallow_sqlalchemy math matplotlib matplotlib_inline mdit_py_plugins mdurl memray mergedeep
methodtools microsoft_kiota_abstractions microsoft_kiota_authentication_azure microsoft_kiota_http
microsoft_kiota_serialization_json microsoft_kiota_serialization_text mimetypes mistune mmap mmh3
modulefinder more_itertools mpl_toolkits msal msal_extensions msgpack msgraph_core msgraphfs
msgspec msilib msrest msrestazure msvcrt multi_key_dict multidict multipart multiprocessing mwaa
mypy_extensions mysql_connector_python mysqlclient narwhals natsort nbclient nbconvert nbformat
neo4j nest_asyncio nest_asyncio2 netrc nis nntplib nonlocal normalizer not nt ntpath nturl2path nul
numbers numpy numpy_config oauthlib ol_generate_code omegaconf opcode openai opencensus
opencensus_context openlineage openlineage_integration_common openlineage_python openlineage_sql
openpyxl opensearch_protobufs opensearch_py opentelemetry opentelemetry_api
opentelemetry_exporter_http_transport opentelemetry_exporter_otlp
opentelemetry_exporter_otlp_common opentelemetry_exporter_otlp_proto_common
opentelemetry_exporter_otlp_proto_grpc opentelemetry_exporter_otlp_proto_http
opentelemetry_exporter_prometheus opentelemetry_proto opentelemetry_resourcedetector_gcp
opentelemetry_sdk opentelemetry_semantic_conventions operator opsgenie_sdk optparse or oracledb
ordered_set orjson os ossaudiodev outcome overlays packaging pagerduty pandas pandas_gbq
pandas_stubs pandocfilters papermill paramiko parse parso pass pathlib pathlib_abc pathspec pbr pdb
pendulum pexpect pgvector pickle pickletools pil pillow pinecone pinecone_plugin_assistant
pinecone_plugin_interface pinotdb pip pip3 pipes pkgutil platform platformdirs plistlib pluggy
plugins polars polars_runtime_32 poplib portalocker posix posixpath pprint preload preload_pods
presto_python_client prison prn profile prometheus_client prompt_toolkit propcache proto_plus
protobuf pstats psutil psycopg psycopg2 psycopg2_binary psycopg_binary pty ptyprocess pure_eval
pure_sasl pwd py py_compile py_spy py_test pyarrow pyasn1 pyasn1_modules pyathena pybabel pybreaker
pyclbr pycountry pycparser pycryptodome pycurl pydantic pydantic_ai_slim pydantic_core
pydantic_extra_types pydantic_graph pydantic_settings pydata_google_auth pydevd_plugins pydoc
pydoc_data pydruid pyexasol pyexpat pyftmerge pyftsubset pygithub pygmentize pygments pygtrie
pyhive pyiceberg pyjwt pykerberos pylab pymongo pymssql pymysql pynacl pyodbc pyodps pyopenssl
pyparsing pyproject_build pyproject_hooks pypsrp pyroaring pysemver pyspark_client pyspnego pytest
python3_saml python_arango python_daemon python_dateutil python_discovery python_dotenv
python_http_client python_jenkins python_keycloak python_ldap python_multipart python_slugify
python_telegram_bot pytokens pytz pyvespa pywinrm pyyaml pyyaml_ft pyzmq qdrant_client queue quopri
raise random raw_data ray re reactivex readline redis redshift_connector referencing regex
register_python_argcomplete release reprlib requests requests_file requests_kerberos requests_ntlm
requests_oauthlib requests_toolbelt resource retryhttp return rich rich_argparse rich_toolkit
rlcompleter room rpds rpds_py rsa ruamel_yaml ruff runpy runs s3fs s3transfer sagemaker_studio
sched scikit_learn scipy scramp scrapbook secrets secretstorage segment_analytics_python select
selectors semver sendgrid sentry_sdk setproctitle setuptools shellingham shelve shlex shutil signal
simple_salesforce site six sklearn slack_sdk slugify smart_open smbprotocol smmap smtpd smtplib
sndhdr sniffio snowflake_connector_python snowflake_snowpark_python snowflake_sqlalchemy socket
socketserver sortedcontainers soupsieve spwd spython sqlalchemy sqlalchemy_bigquery
sqlalchemy_drill sqlalchemy_spanner sqlalchemy_utils sqlformat sqlglot sqlite3 sqlparse src
sre_compile sre_constants sre_parse ssl stack_data starlette stat statistics statsd std_uritemplate
strictyaml string stringprep struct structlog subprocess sunau svcs symtable sys sysconfig syslog
tableauserverclient tabnanny tabulate tarfile telnetlib tempfile tenacity teradatasql
teradatasqlalchemy termcolor termios test tests text_unidecode textual textwrap this threading
threadpoolctl thrift thrift_sasl tiktoken time timeit tinycss2 tkinter token tokenize tokenizers
tomli tomli_w tomlkit tomllib tools tornado tqdm trace traceback tracemalloc traitlets trino
truststore try ttx tty turtle turtledemo typer types types_protobuf types_requests typing
typing_extensions typing_inspect typing_inspection tzdata tzlocal uc_micro_py unicodedata unittest
universal_pathlib upath uritemplate urllib urllib3 uu uuid uuid6 uv uvicorn uvloop validators
vendor_licenses venv vertica_python vine virtualenv warnings watchfiles watchtower wave wcwidth
weakref weaviate_client webbrowser webencodings websocket websocket_client websockets werkzeug
wheel while winreg winsound wirerope with wrapt wrapt_stubs wsdump wsgiref wtforms xdrlib xml
xmlrpc xmlsec xmltodict yaml yaml_ft yandex_query_client yandexcloud yarl ydb ydb_dbapi yield zeep
zenpy zipapp zipfile zipimport zipp zlib zoneinfo zope_event zope_interface zstandard
""".split()
# compose.py end


def problem(**answers: str) -> str | None:
    """Say in one sentence what is wrong with the answers, or return None."""
    for name, answer in answers.items():
        pattern, rule = RULES[name]
        if not re.search(pattern, answer):
            return f"{name} {answer!r}: {rule}"
    for name in ("repo_name", "python_package"):
        spelled = re.sub("[-_.]+", "_", answers[name])  # as pip compares names
        if {spelled, answers[name].partition(".")[0]} & set(REFUSED):
            derived = re.sub(r"[\W_]+", "_", answers["project_name"]).lower() == spelled
            typed = "project_name" if derived else name
            return f"{typed} {answers[typed]!r}: {answers[name]} {TAKEN}"
    return None


if __name__ == "__main__":
    answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
    error = problem(**{name: answers[name] for name in RULES})
    if error:
        print(f"Project not created. {error}", file=sys.stderr)
        sys.exit(1)
