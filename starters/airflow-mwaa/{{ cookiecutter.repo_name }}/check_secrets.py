"""Find secrets in what leaves this machine: `python check_secrets.py`.

`make test` runs it, and so does everything that builds a package, an image or a bundle. It does not
look into conf/local and hidden files, which stay here. PyYAML is all that it needs.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parent
FOLDERS = ("conf", "dags", "include", "plugins", "src")
FILES = ["Dockerfile", "README.md", "packages.txt", "pyproject.toml", "requirements.txt"]
FILES += ["deploy/values.yaml", "mwaa/startup.sh"]
PACKAGES = {path.name for path in PROJECT.glob("src/*")}  # may be called what a key is, too
IGNORED = re.compile(r"(^|/)(\.|__pycache__/|[^/]+\.egg-info/)|^conf/(local/|airflow/schema)")
ALLOWED = "pragma: allowlist secret"
ADVICE = """
Move it to conf/local, to the environment or to an Airflow connection, and refer to that with
${oc.env:NAME} or ${airflow.connection:ID,FIELD}. If it is no secret, and not in a file of
credentials, end its line with the comment `# pragma: allowlist secret`."""

# A file of credentials by its name.
CREDENTIALS = re.compile(r"credential|kubeconfig|passw|secret|service[_-]?account", re.I)
# To one value, without a default, which may be a secret.
REFERENCE = re.compile(
    r"\$\{((oc\.env|globals|runtime_params):[\w.-]+"
    r"|(?!oc\.|globals:|runtime_params:)[\w.]+(:[^{}]+)?)\}"
)
# What stands for a value in code and in texts.
PLACEHOLDER = re.compile(
    REFERENCE.pattern + r"|\$?\{[\w.]*\}|\$\(?\w+\)?|%\(\w+\)s|%s|<[\w -]+>|\.\.\.|\*\*+"
)
KEY = re.compile(
    r"(passw(or)?ds?|passphrase|passcode|pwd?|(?<![a-z])pass|secret|authorization"
    r"|(?<!bos_)(?<!cls_)(?<!eos_)(?<!mask_)(?<!max_)(?<!pad_)(?<!sep_)(?<!unk_)token"
    r"|(access|account|api|app|auth|client|encryption|fernet|license|master|private|secret"
    r"|shared|signing|ssh|storage|subscription|webhook)[_-]?keys?([_-]?(id|data))?)$",
    re.I,
)
ASSIGNED = re.compile(
    r"""(?<![\w.-])([\w.-]{1,80})(?=["']?\s*(:\s*\w+\s*)?[:=](?!=)\s*"""
    r"""("[^"]+"|'[^']+'|[^\s"'&;,:][^\s"'&;,]*(?=["'&;,]|\s*$)))"""
)
COMMENT = re.compile(r"""#\s*-?\s*(["']?[\w.-]+["']?\s*[:=]\s*)?["']?(\S*[^\s:"'])["']?\s*""")
IN_URL = re.compile(
    r"""(?:://[^\s/:@"']*|\$):([^\s/@"']+)@|[?&](?:sig|x-amz-signature)=(\w+)""", re.I
)
TOKEN = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|hooks\.slack\.com/services/\w|\b(AKIA|ASIA)[0-9A-Z]{16}"
    r"|\b(gh[oprsu]_|github_pat_|glpat-|xox[a-z]-|sk-|[rs]k_live_|hf_|npm_|pypi-|dapi|AIza|hvs\.)"
    r"[\w-]{16}|\beyJ[\w-]{16,}\.[\w-]{8}"
)


def main() -> None:
    """Stop with what may be a secret, and where it is."""
    if found := problems():
        sys.exit("\n".join(["Secrets would leave this machine:", *found]) + ADVICE)


def problems() -> list[str]:
    """Say where the project's files may hold secrets: file, line and key."""
    paths = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*"))]
    found = []
    paths += [*(PROJECT / name for name in FILES), *sorted(PROJECT.glob("deploy/overlays/*"))]
    for path in paths:
        name = path.relative_to(PROJECT).as_posix()
        if path.is_file() and not IGNORED.search(name):
            found += [f"{name}{problem}" for problem in in_file(name, path.read_bytes())]
    return found


def in_file(name: str, content: bytes) -> list[str]:
    """Say where a file may hold secrets, as ":LINE: KEY ...", and never what they are."""
    suffix, shipped = Path(name).suffix, name.startswith(FOLDERS)
    if shipped and not suffix:
        return [": without an ending, it may be a key"]
    own = re.sub("^(src|dags)/[^/]+/", "", name)
    credentials = shipped and suffix not in (".py", ".j2") and bool(CREDENTIALS.search(own))
    structured = suffix in (".yml", ".yaml", ".json") and (credentials or name.startswith("conf/"))
    if credentials and not structured:
        return [": by its name, it holds secrets"]
    found: dict[int, str] = {}
    try:
        text = content.decode()
        for line, key, value in values(text) if structured else ():
            if value and not REFERENCE.fullmatch(value) if credentials else is_secret(key, value):
                found[line] = f"{key or 'the content'} is not a reference"
    except (UnicodeDecodeError, yaml.YAMLError):
        return [": this is not YAML"] if structured else []
    for line, written in enumerate(text.splitlines(), 1):
        if ALLOWED in written and not credentials:
            found.pop(line, None)
        elif line not in found and (problem := in_line(written, name, credentials)):
            found[line] = problem
    return [f":{line}: {problem}" for line, problem in sorted(found.items())]


def values(text: str) -> Iterator[tuple[int, str, str]]:
    """Read all values in YAML, also those of repeated keys: line, keys joined by dots, value."""
    pending = [(1, "", node) for node in yaml.compose_all(text, yaml.SafeLoader) if node]
    seen = set()
    while pending:
        line, key, node = pending.pop()
        if isinstance(node, yaml.ScalarNode):
            if node.tag != "tag:yaml.org,2002:null":
                yield line, key.lstrip("."), node.value
        elif (visit := (id(node), is_secret(f"{key}.any", "any"))) not in seen:
            seen.add(visit)
            pairs = [(str(number), each, each) for number, each in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode):
                pairs = [(str(name.value), name, each) for name, each in node.value]
            pending += [
                (place.start_mark.line + 1, f"{key}.{name}", each)
                for name, place, each in reversed(pairs)
            ]


def is_secret(key: str, value: str) -> bool:
    """Say whether a value in conf/ is a secret, by its keys, and is there itself."""
    *parents, last = key.split(".")
    block = re.search(r"(credentials|secrets)\.\D|auth\.\d", key)
    named = is_key(last) or any(map(is_key, parents)) or bool(block)
    return named and is_literal(REFERENCE.sub("$", value))


def is_key(name: str) -> bool:
    """Say whether a key in a configuration or a name in code is that of a secret."""
    return bool(KEY.search(name)) and name.replace("-", "_") not in PACKAGES


def in_line(line: str, name: str, credentials: bool) -> str:
    """Say what may be a secret in a line of a text, or nothing."""
    conf = credentials or name.startswith("conf/")
    line = (REFERENCE if conf else PLACEHOLDER).sub("$", line)
    if TOKEN.search(line) or conf and any(map(is_random, re.findall("[A-Za-z0-9]{20,}", line))):
        return "a key or token"
    if any(is_literal(secret) for pair in IN_URL.findall(line) for secret in pair):
        return "a URL with a password"
    for match in ASSIGNED.finditer(line):
        key, _, value = match.groups()
        in_text = value[0] in "\"'" or line[match.start() - 1] in ";?&"
        if is_key(key) and is_literal(value.strip("\"'")):
            if in_text or not name.endswith(".py"):  # where a name may be the value
                return f"{key} is not a reference"
    if credentials and (comment := COMMENT.fullmatch("#" + line.partition("#")[2])):
        key, value = comment.groups()
        if (key or not value.isalpha()) and is_literal(value) and "://" not in value:
            return "a comment with a value"
    return ""


def is_literal(value: str) -> bool:
    """Say whether a text with $ for references is more than these, and no placeholder."""
    rest = re.sub("^(bearer|basic|token) ", "", value, flags=re.I).strip("$")
    placeholder = rest == "PASSWORD" or rest.lower() in ("true", "false", "null", "none")
    return bool(re.search(r"\w", rest)) and not placeholder


def is_random(word: str) -> bool:
    """Say whether a word changes between lower case, upper case and digits as no name does."""
    kinds = ("[a-z]+", "[A-Z]+", "[0-9]+")
    changes = [len(re.findall(kind, word)) for kind in kinds]
    return all(changes) and sum(changes) > 0.4 * len(word)


if __name__ == "__main__":
    main()
