"""The rules for names and labels (RFC 1123, and Kubernetes' "Labels and Selectors")."""

import re
import secrets
from typing import Any

Cause = tuple[str, str, str]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_DNS_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character"
)
# Kubernetes' own alphabet for generated names: no vowels, hence no words.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_LABEL_LENGTH = 63
_SUBDOMAIN_LENGTH = 253


def is_name(text: str) -> bool:
    """Return whether a text may name a pod: such a name is safe as a file name, too."""
    return len(text) <= _SUBDOMAIN_LENGTH and _SUBDOMAIN.fullmatch(text) is not None


def generated_name(base: str) -> str:
    """Return `base` with a random suffix, cut so that it stays within 63 characters."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return base[: _LABEL_LENGTH - _SUFFIX_LENGTH] + suffix


def name_causes(name: str) -> list[Cause]:
    """Return what is wrong with a pod's name."""
    if not name:
        return [
            (
                "metadata.name",
                "FieldValueRequired",
                "Required value: name or generateName is required",
            )
        ]
    if is_name(name):
        return []
    return [_invalid("metadata.name", name, _SUBDOMAIN_RULE)]


def namespace_name_causes(name: str) -> list[Cause]:
    """Return what is wrong with a namespace's name, which is a single DNS label."""
    if len(name) <= _LABEL_LENGTH and _DNS_LABEL.fullmatch(name):
        return []
    return [_invalid("metadata.name", name, _DNS_LABEL_RULE)]


def metadata_causes(metadata: dict[str, Any]) -> list[Cause]:
    """Return what is wrong with labels and the keys of annotations."""
    causes = []
    for key, value in metadata.get("labels", {}).items():
        causes += _key_causes("metadata.labels", key)
        causes += _label_causes(value)
    for key in metadata.get("annotations", {}):
        causes += _key_causes("metadata.annotations", key.lower())
    return causes


def _label_causes(value: str) -> list[Cause]:
    if len(value) > _LABEL_LENGTH:
        rule = f"must be no more than {_LABEL_LENGTH} characters"
        return [_invalid("metadata.labels", value, rule)]
    if value and not _NAME_PART.fullmatch(value):
        return [_invalid("metadata.labels", value, _LABEL_RULE)]
    return []


def _key_causes(field: str, key: str) -> list[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not is_name(prefix):
        return [_invalid(field, key, f"prefix part {_SUBDOMAIN_RULE}")]
    if len(name) > _LABEL_LENGTH or not _NAME_PART.fullmatch(name):
        return [_invalid(field, key, _KEY_RULE)]
    return []


def _invalid(field: str, value: str, rule: str) -> Cause:
    return (field, "FieldValueInvalid", f'Invalid value: "{value}": {rule}')
