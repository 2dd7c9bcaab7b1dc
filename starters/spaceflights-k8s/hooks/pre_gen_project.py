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
TAKEN = "is a Python keyword, or the name of a module that the project needs. Choose another one."

# compose.py begin: layers/refused_names.txt
REFUSED = """
abc aifc airflow and annotationlib antigravity argparse array as assert ast async asynchat asyncio
asyncore atexit audioop await base64 bdb binascii binhex bisect boto3 break builtins bz2 calendar
cgi cgitb check_secrets chunk class cmath cmd code codecs codeop collections colorsys compileall
compression concurrent conf configparser contextlib contextvars continue copy copyreg crypt csv
ctypes curses dags data dataclasses datetime dbm decimal def del deploy difflib dis distutils
doctest elif else email encodings ensurepip enum errno except faulthandler fcntl filecmp fileinput
finally fnmatch for fractions from fsspec ftplib functools gc genericpath getopt getpass gettext
glob global graphlib grp gzip hashlib heapq hmac html http idlelib if imaplib imghdr imp import
importlib in include inspect io ipaddress is itertools json kedro kedro_airflow kedro_datasets
kedro_telemetry keyword lambda lib2to3 linecache locale logging lzma mailbox mailcap marshal math
matplotlib mimetypes mmap modulefinder msilib msvcrt multiprocessing mwaa netrc nis nntplib
nonlocal not nt ntpath nturl2path numbers numpy omegaconf opcode openpyxl operator optparse or os
ossaudiodev pandas pass pathlib pdb pickle pickletools pip pipes pkgutil platform plistlib plugins
poplib posix posixpath pprint profile pstats pty pwd py_compile pyarrow pyclbr pydoc pydoc_data
pyexpat pytest queue quopri raise random re readline reprlib resource return rlcompleter runpy s3fs
sched secrets select selectors setuptools shelve shlex shutil signal site sklearn smtpd smtplib
sndhdr socket socketserver spwd sqlite3 src sre_compile sre_constants sre_parse ssl stat statistics
string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib
tempfile termios test tests textwrap this threading time timeit tkinter token tokenize tomllib
trace traceback tracemalloc try tty turtle turtledemo types typing unicodedata unittest urllib uu
uuid venv warnings wave weakref webbrowser wheel while winreg winsound with wsgiref xdrlib xml
xmlrpc yield zipapp zipfile zipimport zlib zoneinfo
""".split()
# compose.py end


def problem(**answers: str) -> str | None:
    """Say in one sentence what is wrong with the answers, or return None."""
    for name, answer in answers.items():
        pattern, rule = RULES[name]
        if not re.search(pattern, answer):
            return f"{name} {answer!a}: {rule}"
    package = answers["python_package"]
    return f"python_package {package!a} {TAKEN}" if package in REFUSED else None


if __name__ == "__main__":
    answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
    error = problem(**{name: answers[name] for name in RULES})
    if error:
        print(f"Project not created. {error}", file=sys.stderr)
        sys.exit(1)
