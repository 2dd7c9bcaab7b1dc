

# The settings of pods

CORES = {"": 1, "m": 1e-3}
LABEL = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
BYTES = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def matching(pattern: str, accepted: str) -> Callable[[Any], str]:
    """Accept a text or a number that matches."""

    def parse_matching(value: Any) -> str:
        simple = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not simple or not re.fullmatch(pattern, str(value)):
            raise ValueError(accepted)
        return str(value)

    return parse_matching


def each(parse_item: Callable[[Any], Any]) -> Callable[[Any], list]:
    """Accept a list of what ``parse_item`` accepts."""

    def parse_each(value: Any) -> list:
        if not isinstance(value, list):
            raise ValueError("a list")
        return [parse_item(item) for item in value]

    return parse_each


def pairs(
    parse_key: Callable[[Any], str], parse_item: Callable[[Any], str]
) -> Callable[[Any], dict[str, str]]:
    """Accept a mapping of what these two accept."""

    def parse_pairs(value: Any) -> dict[str, str]:
        return {parse_key(key): parse_item(item) for key, item in mapping(value).items()}

    return parse_pairs


def quantity(units: Mapping[str, float], example: str) -> Callable[[Any], list[str]]:
    """Accept a quantity of Kubernetes, or two: what is requested, and the limit."""
    number = r"(\d+(?:\.\d+)?)"
    accepted = matching(f"{number}({'|'.join(units)})", f"an amount such as {example}")

    def parse_quantity(value: Any) -> list[str]:
        two = value if isinstance(value, list) and len(value) == 2 else [value]
        found = [accepted(item) for item in two]
        parts = [re.fullmatch(rf"{number}(\D*)", item).groups() for item in found]
        amounts = [float(amount) * units[unit] for amount, unit in parts]
        if not 0 < amounts[0] <= amounts[-1]:
            raise ValueError("more than 0, and the request at most the limit")
        return found

    return parse_quantity


def runner(value: Any) -> str:
    if value not in ("pod", "executor"):
        raise ValueError("pod or executor")
    return value


def toleration(value: Any) -> dict[str, Any]:
    for key in mapping(value):
        if key not in ("key", "operator", "value", "effect", "tolerationSeconds"):
            raise ValueError("a toleration such as {key: gpu, operator: Exists}")
    return value


object_name = matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a name of Kubernetes' objects")
label_value = matching(rf"({LABEL})?", "the value of a label")
label_name = matching(rf"([a-z0-9.-]+/)?{LABEL}", "the name of a label")
variable_name = matching("[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")
variable_value = matching(r"(?s:.*)", "a text or a number")
path = matching("/.*", "an absolute path")

DAG |= {"runner": runner}
TASK |= {
    "cpu": quantity(CORES, "0.5, 500m or [250m, 2]"),
    "memory": quantity(BYTES, "512Mi or [1Gi, 4Gi]"),
    "gpu": count,
    "image": matching(r"[a-z0-9][\w.:/@-]*", "an image such as registry.example.com/name:1.0"),
    "storage": text,
    "volume": object_name,
    "volumes": pairs(object_name, path),
    "env": pairs(variable_name, variable_value),
    "secrets": each(object_name),
    "config_maps": each(object_name),
    "node_selector": pairs(label_name, label_value),
    "tolerations": each(toleration),
    "service_account": object_name,
    "pull_secrets": each(object_name),
    "labels": pairs(label_name, label_value),
    "keep_failed_pods": boolean,
    "startup_timeout": duration,
}
