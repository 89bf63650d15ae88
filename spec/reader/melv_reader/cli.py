"""The command `melv-reader`. Exit codes: 0 ok, 2 usage, 4 rejected."""

import argparse
import json
import sys

from .content import Content, check_content
from .disk import new_raw_disk, raw_content
from .home import RECORD
from .image import Image
from .opening import Usage, find_image, open_complete, open_home
from .record import read_record
from .rules import Rejected
from .vectors import run_vectors
from .verify import verify

OK, DISAGREE, USAGE, REJECTED = 0, 1, 2, 4


def main(arguments):
    """Run the command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or OK
    except Rejected as error:
        kind = "not supported" if error.unsupported else "rejected"
        print(f"melv-reader: {kind}: {error}", file=sys.stderr)
        return REJECTED
    except (Usage, OSError) as error:
        print(f"melv-reader: {error}", file=sys.stderr)
        return USAGE


def _parser():
    parser = argparse.ArgumentParser(prog="melv-reader", description="Reads melv files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = _command(commands, "list", _list, "images with names, sizes and content ids")
    one.add_argument("file", metavar="FILE.melv|STORE")
    one.add_argument("--json", action="store_true")
    one = _command(commands, "export", _export, "write an image as a raw disk with holes")
    one.add_argument("file", metavar="FILE.melv|STORE")
    one.add_argument("out", metavar="OUT.raw")
    one.add_argument("--image", metavar="NAME|ID")
    _base_option(one)
    one = _command(commands, "verify", _verify, "check everything, in full")
    one.add_argument("file", metavar="FILE.melv|STORE")
    _base_option(one)
    one = _command(commands, "content", _content, "the content id of a raw disk")
    one.add_argument("file", metavar="FILE.raw")
    one = _command(commands, "vectors", _vectors, "run over the vectors of a folder")
    one.add_argument("folder", metavar="DIR")
    return parser


def _command(commands, name, run, text):
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _base_option(command):
    command.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="STORE|FILE.melv",
        help="where bases of the bundle are; may be given several times",
    )


def _list(options):
    """Images need not be readable to be listed: bases may be missing."""
    home = open_home(options.file)
    names = {}
    for name, image_id, _ in home.names():
        names.setdefault(image_id, []).append(name)
    images = []
    for image_id in home.ids(RECORD):
        blob = home.blob(RECORD, image_id)
        manifest = read_record(blob, image_id, home.base_pages).manifest
        images.append(
            {
                "id": image_id.hex(),
                "names": names.get(image_id, []),
                "size": manifest.size,
                "content": manifest.content.hex(),
            }
        )
    bases = [image_id.hex() for image_id, _ in home.bases]
    if options.json:
        print(json.dumps({"images": images, "bases": bases}, indent=2))
        return
    for image in images:
        print(image["id"], ",".join(image["names"]) or "-", image["size"], image["content"])
    for base in bases:
        print("base", base)


def _export(options):
    home = open_complete(options.file, options.base)
    image = Image(home, find_image(home, options.image))
    manifest = image.manifest
    content = Content(manifest.size)
    with new_raw_disk(options.out, manifest.size) as disk:
        for first, blocks, digests in image.runs():
            disk.write(first, blocks, digests)
            for block, digest in enumerate(digests, first):
                content.add(block, digest)
        check_content(manifest.content, content.finish(), image.where)
    print(f"image {image.id.hex()}: {manifest.size} bytes, content {manifest.content.hex()}")


def _verify(options):
    verify(open_complete(options.file, options.base), print)
    print("sound")


def _content(options):
    print(raw_content(options.file).hex())


def _vectors(options):
    return run_vectors(options.folder)
