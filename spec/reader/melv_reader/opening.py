"""Opening stores and bundles by their paths, with the bases that were given."""

import os
import re

from .bundle import Bundle
from .home import RECORD
from .store import Store

_ID = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class Usage(Exception):
    """The command line, or what it names, is not as it must be."""


def open_home(path, homes=()):
    """A store (a folder) or a bundle (a file); bases may be missing."""
    if os.path.isdir(path):
        if not os.path.lexists(os.path.join(path, "melv.store")):
            raise Usage(f"{path}: not a store: it has no melv.store")
        return Store(path)
    return Bundle(path, homes)


def open_bases(paths):
    """The homes that `--base` names, in any order: a bundle's bases may be in another of them."""
    homes = []
    waiting = list(paths)
    while waiting:
        opened = [(path, open_home(path, homes)) for path in waiting]
        ready = [(path, home) for path, home in opened if is_complete(home)]
        if not ready:
            opened[0][1].require_bases()
        homes.extend(home for _, home in ready)
        done = [path for path, _ in ready]
        waiting = [path for path in waiting if path not in done]
    return homes


def is_complete(home):
    """Whether all bases of a home are there."""
    return all(base is not None for _, base in home.bases)


def open_complete(path, base_paths):
    """A home with all its bases; `missing` where one is not there (10.3)."""
    home = open_home(path, open_bases(base_paths))
    if home.is_bundle:
        home.require_bases()
    return home


def find_image(home, text):
    """The image that a name or an id tells; where there is no text, the only one."""
    if not text:
        ids = []
        for image_id in home.ids(RECORD):
            ids.append(image_id)
            if len(ids) > 1:
                raise Usage(f"{home.label}: several images; tell which with --image")
        if not ids:
            raise Usage(f"{home.label}: no image")
        return ids[0]
    text = text.removeprefix("@")
    if _ID.match(text) and home.has_image(bytes.fromhex(text)):
        return bytes.fromhex(text)
    image_id = home.image_of(text if ":" in text else f"{text}:latest")
    if image_id is None:
        raise Usage(f"{home.label}: no image {text}")
    return image_id
