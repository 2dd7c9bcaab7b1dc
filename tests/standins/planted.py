"""Secrets as people leave them in a project: files, and texts in its configuration."""

from pathlib import Path

SECRET = "planted-secret"
PACKAGE = "src/space_flights"

# Anywhere in a project: kept out of git, and not in the folders that are shipped.
LEFT_BEHIND = [
    *(".env", ".env.local", ".env.production", ".envrc", "prod.env", "docs/.env", "tests/.env"),
    *(".netrc", "_netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", ".htpasswd"),
    *(".aws/config", ".aws/credentials", ".azure/accessTokens.json", ".boto", ".s3cfg"),
    *(".config/gcloud/application_default_credentials.json", "rclone.conf", ".databrickscfg"),
    *(".docker/config.json", ".dockercfg", ".kube/config", "kubeconfig", "kubeconfig.yaml"),
    *("my.kubeconfig", ".dbt/profiles.yml", ".snowflake/connections.toml", ".vault-token"),
    *(".ssh/id_rsa", "id_rsa", "id_ed25519", "keys/id_ecdsa.old", "deploy_key.pem", "server.key"),
    *("cert.p12", "cert.pfx", "keystore.jks", "putty.ppk", "vault.kdbx", "secring.gpg"),
    *("private.asc", "krb5.keytab", "service-account.json", "service_account_key.json"),
    *("client_secret_123.json", "gcp-credentials.json", "gha-creds-1a2b.json", "rootkey.csv"),
    *("accessKeys.csv", "new_user_credentials.csv", "keys/credentials", "credentials.json"),
    *("Credentials.yml", "CREDENTIALS.CSV", "credentials/aws.txt", "Credentials/gcp.json"),
    *("terraform.tfstate", "terraform.tfstate.backup", "infra/prod.tfvars"),
    *("infra/.terraform/terraform.tfstate", "secrets.toml", "secrets.yaml", "deploy/secrets.yaml"),
    *(".streamlit/secrets.toml", "token.json", "oauth_token.txt", "passwords.txt"),
    *("airflow.cfg", "airflow.db", "simple_auth_manager_passwords.json.generated"),
    *(".idea/dataSources.xml", ".vscode/settings.json", ".vscode/.env", ".python_history"),
    *(".devcontainer/.env", ".devcontainer/devcontainer.env"),
    *("credentials.yml~", ".credentials.yml.swp", "credentials.yml.swp", "catalog.yml.bak"),
    *("#parameters.yml#", ".#parameters.yml", "parameters.yml.orig", "parameters.yml.old"),
    *("notebooks/.ipynb_checkpoints/explore-checkpoint.ipynb", "mwaa/credentials.yml"),
    *("data/01_raw/.env", "data/01_raw/id_rsa", "data/01_raw/service-account.json"),
    *("data/02_intermediate/x.parquet", "data/secrets.csv"),
]
# In the folders that are shipped.
LEFT_OUT = [
    *("conf/local/credentials.yml", "conf/local/parameters.json", "conf/local/deep/secret.txt"),
    *("conf/local/.env", "conf/base/.env", "conf/base/.credentials.yml.swp"),
    *("dags/.env", "plugins/.env.local", "src/.aws/credentials", f"{PACKAGE}/.env"),
    *(f"{PACKAGE}/.nodes.py.swp", f"{PACKAGE}/.ipynb_checkpoints/nodes-checkpoint.py"),
    *(f"{PACKAGE}/__pycache__/x.pyc", f"{PACKAGE}.egg-info/PKG-INFO"),
]
REFUSED = [
    *("conf/credentials", "conf/airflow/credentials.ini", "conf/base/credentials.yml"),
    *("conf/base/credentials.yml~", "conf/base/Credentials.yaml", "conf/base/CREDENTIALS.yml"),
    *("conf/base/db_credentials.yml", "conf/base/credentials/aws.yml", "conf/base/secrets.yml"),
    *("conf/prod/credentials.json", "conf/base/service-account.json", "conf/base/kubeconfig"),
    *("conf/base/id_rsa", "conf/base/tls.key", "conf/base/parameters.yml.bak"),
    *("dags/credentials.json", "dags/id_rsa", "dags/dag.py~", "dags/keys.pem", "dags/secrets.yaml"),
    *("plugins/credentials.json", "plugins/token.txt", "src/kubeconfig", f"{PACKAGE}/id_rsa"),
    *(f"{PACKAGE}/service-account.json", f"{PACKAGE}/credentials.json", f"{PACKAGE}/client.pem"),
    *(f"{PACKAGE}/CREDENTIALS.TXT", f"{PACKAGE}/secrets.yml", f"{PACKAGE}/nodes.py.bak"),
    *(f"{PACKAGE}/terraform.tfstate", f"{PACKAGE}/settings.py~"),
]

# Files that the code needs, and no secrets.
NEEDED = [
    *("conf/base/catalog/deep.yaml", "conf/base/parameters.json", "conf/base/spark.yml"),
    *("dags/query.sql", "dags/team.yaml", "plugins/team.py", f"{PACKAGE}/credentials.py"),
    *(
        f"{PACKAGE}/prompts/system.md",
        f"{PACKAGE}/queries/a.sql",
        f"{PACKAGE}/id_sales.csv",
    ),
    *(f"{PACKAGE}/page.html", f"{PACKAGE}/template.jinja", f"{PACKAGE}/template.j2"),
    *(f"{PACKAGE}/settings.toml", f"{PACKAGE}/tokenizer.json", f"{PACKAGE}/words.txt"),
]
CREDENTIALS, GLOBALS = "conf/airflow/credentials.yml", "conf/airflow/globals.yml"
CATALOG, PARAMETERS = "conf/base/catalog.yml", "conf/base/parameters.yml"
# A file, a text with a secret, and the line and key that are named.
LITERALS = [
    (CREDENTIALS, f"db:\n  con: {SECRET}", "2: db.con"),
    (CREDENTIALS, f"db: {{user: '${{oc.env:USER}}', password: {SECRET}}}", "1: db.password"),
    (CREDENTIALS, f"db:\n- - {SECRET}", "2: db.0.0"),
    (CREDENTIALS, "db:\n  pin: 12345", "2: db.pin"),
    (CREDENTIALS, f"db: &a\n  con: {SECRET}\nother: *a", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: |\n    {SECRET}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: {SECRET}\n  con: ${{oc.env:CON}}", "2: db.con"),
    (CREDENTIALS, f"a: ${{oc.env:CON}}\n---\ndb: {SECRET}", "3: db"),
    (CREDENTIALS, SECRET, "1: the content"),
    (CREDENTIALS, f"db:\n  con: ${{oc.env:CON,{SECRET}}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{ oc.env:CON , {SECRET} }}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{oc.decode:'{SECRET}'}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: '${{oc.create:{{a: {SECRET}}}}}'", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{oc.select:x,{SECRET}}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{globals:con,{SECRET}}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{runtime_params:con,{SECRET}}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{oc.env:${{oc.decode:{SECRET}}}}}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: postgresql://${{oc.env:USER}}:{SECRET}@host/db", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{oc.env:USER}}:{SECRET}@host", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: ${{oc.env:CON}}{SECRET}", "2: db.con"),
    (CREDENTIALS, f"db:\n  con: !!str {SECRET}  # pragma: allowlist secret", "2: db.con"),
    (CREDENTIALS, f"# db:\n#   con: {SECRET}", "2: a comment with a value"),
    (CREDENTIALS, f"db:\n  con: ${{oc.env:CON}}  # {SECRET}", "2: a comment with a value"),
    (CREDENTIALS, f"# was: postgresql://airflow:{SECRET}@host/db", "1: a URL with a password"),
    (CREDENTIALS, "db: [", ": this is not YAML"),
    ("conf/base/db_credentials.yml", f"db:\n  con: {SECRET}", "2: db.con"),
    ("conf/prod/Credentials.yaml", f"db:\n  con: {SECRET}", "2: db.con"),
    ("conf/base/credentials/db.json", f'{{"db": {{"con": "{SECRET}"}}}}', "1: db.con"),
    ("src/space_flights/secrets.yml", f"db: {SECRET}", "1: db"),
    (GLOBALS, f"url: postgresql://airflow:{SECRET}@host/db", "1: a URL with a password"),
    (GLOBALS, f"url: redis://:{SECRET}@host", "1: a URL with a password"),
    (GLOBALS, f"url: s3://a?x-amz-signature={SECRET}", "1: a URL with a password"),
    (
        GLOBALS,
        f"url: ${{oc.env:URL,ftp://me:{SECRET}@host}}",
        "1: a URL with a password",
    ),
    (GLOBALS, f"url: ${{oc.env:USER}}:{SECRET}@host", "1: a URL with a password"),
    (GLOBALS, f"# url: ftp://me:{SECRET}@host", "1: a URL with a password"),
    (GLOBALS, f"db_password: {SECRET}", "1: db_password"),
    (GLOBALS, f"# db_password: {SECRET}", "1: db_password"),
    (CATALOG, f"a:\n  credentials:\n    key: {SECRET}", "3: a.credentials.key"),
    (CATALOG, f"a:\n  dsn: Server=host;Uid=me;Pwd={SECRET}", "2: Pwd"),
    (CATALOG, f"a:\n  headers: {{Authorization: Bearer {SECRET}}}", "2: a.headers.Authorization"),
    (CATALOG, f"a:\n  fs_args: {{secret: '${{oc.env:KEY,{SECRET}}}'}}", "2: a.fs_args.secret"),
    (CATALOG, f"a:\n  account_key: >-\n    {SECRET}", "2: a.account_key"),
    (CATALOG, "a:\n  AWS_SECRET_ACCESS_KEY: ${oc.decode:'x'}", "2: a.AWS_SECRET_ACCESS_KEY"),
    (PARAMETERS, f"api:\n  token: {SECRET}", "2: api.token"),
    (PARAMETERS, f"api:\n  clientSecret: {SECRET}", "2: api.clientSecret"),
    (PARAMETERS, f"api:\n  passwords: [{SECRET}]", "2: api.passwords.0"),
    (PARAMETERS, f"api:\n  password:\n    value: {SECRET}", "3: api.password.value"),
    (PARAMETERS, "api:\n  password: 12345", "2: api.password"),
    (PARAMETERS, "api:\n  password: SECRET", "2: api.password"),
    (PARAMETERS, f"_pw: {SECRET}\napi: ${{_pw}}", "1: _pw"),
    (PARAMETERS, f"secrets: {{api: {SECRET}}}", "1: secrets.api"),
    (PARAMETERS, f"auth:\n- ${{oc.env:ME}}\n- {SECRET}", "3: auth.1"),
    (PARAMETERS, f"x: &x {SECRET}\napi_key: *x", "2: api_key"),
    (PARAMETERS, "model: ghp_abcdefghijklmnopqrstuvwxyz0123456789", "1: a key or token"),
    (PARAMETERS, "models: [AKIAIOSFODNN7EXAMPLE]", "1: a key or token"),
    (PARAMETERS, "AKIAIOSFODNN7EXAMPLE: model", "1: a key or token"),
    (PARAMETERS, "model: k7Hq2Zx9Lm4Wv8Rt3Np6Yb1Jc5Df", "1: a key or token"),
    (PARAMETERS, "hook: https://hooks.slack.com/services/T0/B0/x", "1: a key or token"),
    (PARAMETERS, f"a: |\n  -----BEGIN RSA PRIVATE KEY-----\n  {SECRET}", "2: a key or token"),
    ("conf/base/parameters/deep/a.yaml", f"token: {SECRET}", "1: token"),
    (
        "conf/airflow/airflow.yml",
        f"default: {{env: {{PGPASSWORD: {SECRET}}}}}",
        "1: default.env.PGPASSWORD",
    ),
    ("conf/logging.yml", f"handlers:\n  mail: {{secret: {SECRET}}}", "2: handlers.mail.secret"),
    ("dags/team.py", f'PASSWORD = "{SECRET}"', "1: PASSWORD"),
    ("dags/pod.yaml", f"env: [{{name: X, password: {SECRET}}}]", "1: password"),
    ("deploy/values.yaml", f"data:\n  pass: {SECRET}", "2: pass"),
    ("mwaa/startup.sh", f"export DB_PASSWORD={SECRET}", "1: DB_PASSWORD"),
    (
        "plugins/team.py",
        f'URL = "ftp://me:{SECRET}@host"',
        "1: a URL with a password",
    ),
    (
        "requirements.txt",
        f"--index-url https://me:{SECRET}@host",
        "1: a URL with a password",
    ),
    ("src/space_flights/prompt.md", f"Say it: api_key={SECRET}", "1: api_key"),
    ("src/space_flights/settings.json", f'{{"apiKey": "{SECRET}"}}', "1: apiKey"),
]
# What looks like a secret at first sight.
ORDINARY = [
    (
        CREDENTIALS,
        "db:\n  key: ${airflow.connection:my bucket,login}\n  no: null",
    ),
    (CREDENTIALS, "_db: ${airflow.variable:db}\ndb:\n  con: ${_db}\n  key: ${vault:path/to,key}"),
    (
        CREDENTIALS,
        "# Ask Ann: it has one user.\n# Warehouse\n# db:\n#   con: ${oc.env:CON}",
    ),
    (CATALOG, "a:\n  type: pandas.SQLTableDataset\n  credentials: warehouse\n  table_name: tokens"),
    (CATALOG, "a:\n  con: postgresql://${oc.env:USER}:${oc.env:PASSWORD}@host:5432/db"),
    (
        CATALOG,
        "a: {Authorization: 'Bearer ${oc.env:A}', url: 'https://host:8443/a?b=c@d'}",
    ),
    (
        CATALOG,
        "a: {filepath: 's3://bucket/CompaniesExportOf2024Q1.csv', index_col: id}",
    ),
    (GLOBALS, "storage: ${oc.env:STORAGE,data}\nbucket: s3://my-bucket-eu-west-1/prefix"),
    (
        GLOBALS,
        "image: ghcr.io/me/a@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b",
    ),
    (
        PARAMETERS,
        "{max_tokens: 100, pad_token: '[PAD]', tokenizer: bert, primary_key: id}",
    ),
    (
        PARAMETERS,
        "model: TheBloke/Llama-2-7B-Chat-GPTQ\nuse_token: true\npassword_of: a",
    ),
    (
        PARAMETERS,
        "password: ''\ntoken: ${globals:token}  # a token: see the wiki",
    ),
    (PARAMETERS, "name: AnExtraordinarilyLongClassName2\ntoken: abc  # pragma: allowlist secret"),
    ("conf/airflow/airflow.yml", "default:\n  secrets: [warehouse]\n  pull_secrets: [registry]"),
    (
        "dags/team.py",
        "password = get('PASSWORD')\nconnect(token=token, password=f'{a}')",
    ),
    ("dags/pod.yaml", "volumes: [{name: a, secret: {secretName: tls}}]"),
    ("src/space_flights/airflow_credentials.py", "def password(secret: str) -> str: ..."),
    ("src/space_flights/query.sql", "SELECT token, password FROM users WHERE token = :token"),
    (
        "src/space_flights/prompt.md",
        "Tell no password: it is theirs. postgresql://USER:PASSWORD@HOST",
    ),
]


def content(name: str) -> str:
    """What a file of this name is likely to hold."""
    if name.endswith((".pem", ".key", "id_rsa")):
        return f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
    if name.lower().endswith((".json", ".yml", ".yaml", ".tfstate")):
        return f'{{"bucket": {{"password": "{SECRET}"}}}}\n'
    return f'password = "{SECRET}"\n'


def plant(project: Path, names: list[str]) -> None:
    """Write files with a secret into a project."""
    for name in names:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content(name))


def plant_needed(project: Path) -> None:
    """Write files into a project that its code may need."""
    for name in NEEDED:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
