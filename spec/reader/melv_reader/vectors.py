"""Runs over the test vectors of a folder, as its README.md describes them."""

import os
import shutil
import tempfile
import tomllib
from contextlib import contextmanager

from .rules import Rejected
from .vector_kinds import read_vector

_OK, _DISAGREE, _NONE = 0, 1, 2


def run_vectors(folder):
    """Print what does not agree, and how much does; the exit code."""
    with open(os.path.join(folder, "index.toml"), "rb") as file:
        vectors = tomllib.load(file).get("vector", [])
    disagreements = []
    for vector in vectors:
        text = check_vector(folder, vector)
        if text is not None:
            disagreements.append(text)
            print(f"{vector.get('file')} ({vector.get('kind')}): {text}")
    failed = len(disagreements)
    print(f"{len(vectors)} vectors, {len(vectors) - failed} agree")
    print(f"{len(vectors) - failed} passed, {failed} failed")
    if not vectors:
        return _NONE
    return _DISAGREE if failed else _OK


def check_vector(folder, vector):
    """None where the vector agrees, or else what does not."""
    expected = vector["rule"] if vector["expect"] == "refuse" else "accepted"
    try:
        with vector_path(folder, vector) as path:
            found = read_vector(vector["kind"], path, vector.get("context", {}), folder)
    except Rejected as error:
        if error.rule == expected:
            return None
        return f"expected {expected}, found {error}"
    except Exception as error:  # a reader must never end in any other way
        return f"expected {expected}, found {type(error).__name__}: {error}"
    if expected != "accepted":
        return f"expected {expected}, found accepted"
    return _compare(vector.get("values", {}), found)


def _compare(expected, found):
    for key, value in expected.items():
        if key not in found:
            return f"{key}: this reader finds no such value"
        if found[key] != value:
            return f"{key}: expected {value}, found {found[key]}"
    return None


@contextmanager
def vector_path(folder, vector):
    """The path of a vector's bytes; a store that lies over another is put together first."""
    path = os.path.join(folder, vector["file"])
    base = vector.get("context", {}).get("base")
    if not base:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="melv-vector-") as made:
        shutil.copytree(os.path.join(folder, base), made, dirs_exist_ok=True)
        if os.path.isdir(path):
            shutil.copytree(path, made, dirs_exist_ok=True)
        yield made
